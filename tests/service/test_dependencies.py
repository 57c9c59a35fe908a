"""Serving stands on its own: no PyTorch, nothing of the model's or the training's code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.service.server import Server

LOADED = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


THREADS = """
import importlib, os, sys
importlib.import_module(sys.argv[1])
import onnxruntime
print(len(os.listdir("/proc/self/task")))
"""


def loaded_by(*modules: str) -> set[str]:
    """Top-level packages in a fresh process that imports these modules."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *modules], check=True, capture_output=True, text=True
    )
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def serving() -> set[str]:
    """What is loaded by all that serves without Redis."""
    return loaded_by("service.http.app", "service.cli", "service.http.server")


def test_serving_imports_neither_torch_nor_model_nor_training(serving: set[str]) -> None:
    assert "service" in serving
    assert not serving & {"torch", "model", "training", "onnx", "skimage", "sklearn", "jaxtyping"}


@pytest.mark.parametrize("module", ["service.runtime.engine", "model", "training"])
def test_onnx_runtime_reports_to_nobody(module: str) -> None:
    """Where it does, it has a thread for that."""
    command = [sys.executable, "-c", THREADS, module]
    # What these tests import has set it for this process and those that it starts.
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert done.stdout == "1\n"


def test_redis_client_is_loaded_only_where_redis_is_used(serving: set[str]) -> None:
    assert "redis" not in serving
    assert "redis" in loaded_by("service.fleet.process")


def test_supervisor_brings_neither_framework_nor_runtime_nor_pictures() -> None:
    loaded = loaded_by("service.cli", "service.processes.supervisor")
    assert not loaded & {"fastapi", "starlette", "uvicorn", "onnxruntime", "numpy", "PIL"}


def test_server_that_has_served_has_no_torch_in_its_memory(
    server: Server, client: httpx.Client, photo: bytes
) -> None:
    assert client.post("/reconstruct", files={"image": photo}).status_code == 200
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "onnxruntime" in maps
    assert "torch" not in maps

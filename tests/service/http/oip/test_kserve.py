"""/v2 as KServe's own client meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.service.photos import pixels_of, plain
from tests.service.server import Server

PYTHON = Path(sys.prefix) / "kserve/bin/python"
CALLS = Path(__file__).with_name("kserve_calls.py")


@pytest.fixture(scope="module")
def results(server: Server, photo: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the client got."""
    assert PYTHON.exists(), "make test sets up KServe's client"
    file = tmp_path_factory.mktemp("kserve") / "photo.jpg"
    file.write_bytes(photo)
    done = subprocess.run([PYTHON, CALLS, server.url, file], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_client_finds_the_server_and_its_models_ready(results: dict[str, Any]) -> None:
    assert results["live"] is True
    assert results["ready"] is True
    assert results["model_ready"] == [True, False]


def test_client_gets_the_vectors_of_embed(server: Server, photo: bytes, results: dict[str, Any]) -> None:
    for name, options in (("binary", {}), ("json", {}), ("cls", {"pooling": "cls"})):
        np.testing.assert_allclose(results[name], server.embedded(photo, **options) * 2, atol=1e-5)


def test_client_encodes_and_decodes_in_bytes_and_in_json(server: Server, results: dict[str, Any]) -> None:
    picture = server.client.post("/reconstruct", files={"image": plain(0, side=96)}).content
    for binary in (True, False):
        assert np.abs(np.subtract(results[f"drawn {binary}"][0], pixels_of(picture).astype(int))).max() <= 1


def test_client_gets_only_the_outputs_it_asked_for(results: dict[str, Any]) -> None:
    assert results["subset"] == ["cls"]


def test_client_is_told_what_is_wrong(results: dict[str, Any]) -> None:
    assert "expected UINT8 [-1, 96, 96, 3], got UINT8 [96, 96, 3]., '400 Bad Request'" in results["error"]

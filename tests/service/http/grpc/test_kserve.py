"""gRPC as KServe's own client meets it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.service.http.grpc.wire import port
from tests.service.http.oip.test_kserve import PYTHON
from tests.service.photos import pixels_of, plain
from tests.service.server import Server

CALLS = Path(__file__).with_name("kserve_calls.py")


@pytest.fixture(scope="module")
def results(both: Server, photo: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the client got."""
    assert PYTHON.exists(), "make test sets up KServe's client"
    file = tmp_path_factory.mktemp("kserve") / "photo.jpg"
    file.write_bytes(photo)
    command: list[str | Path] = [PYTHON, CALLS, f"127.0.0.1:{port(both)}", file]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_client_finds_the_server_and_its_model_ready(results: dict[str, Any]) -> None:
    assert [results[name] for name in ("live", "ready", "model_ready")] == [True, True, True]


def test_client_gets_the_vectors_of_embed(both: Server, photo: bytes, results: dict[str, Any]) -> None:
    for name, options in (("raw", {}), ("typed", {}), ("cls", {"pooling": "cls"})):
        np.testing.assert_allclose(results[name], both.embedded(photo, **options) * 2, atol=1e-5)


def test_client_encodes_and_decodes_raw_and_typed(both: Server, results: dict[str, Any]) -> None:
    picture = both.client.post("/reconstruct", files={"image": plain(0, side=96)}).content
    for binary in (True, False):
        assert np.abs(np.subtract(results[f"drawn {binary}"][0], pixels_of(picture).astype(int))).max() <= 1


def test_client_is_told_what_is_wrong(results: dict[str, Any]) -> None:
    told = "input image: expected UINT8 [-1, 96, 96, 3], got UINT8 [96, 96, 3]."
    assert results["error"] == ["INVALID_ARGUMENT", told]

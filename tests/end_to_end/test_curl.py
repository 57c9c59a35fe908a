"""The three lines of the README, with the real curl, on a photo that the model never saw."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.service.photos import photo, pixels_of
from tests.service.server import Server, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server") / "log", {}) as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a user stands who has a picture of a cat."""
    (tmp_path / "cat.jpg").write_bytes(photo("chelsea"))
    return tmp_path


def curl(line: str, server: Server, folder: Path) -> str:
    """Run a line as it stands in the README, with the port of this server."""
    line = line.replace("localhost:8000", f"127.0.0.1:{server.port}")
    done = subprocess.run(
        [*shlex.split(line), "--silent", "--show-error", "--fail", "--noproxy", "*"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_embed_answers_with_a_vector(server: Server, folder: Path) -> None:
    answer = json.loads(curl("curl -F image=@cat.jpg localhost:8000/embed", server, folder))
    vector = np.array(answer["data"][0]["embedding"])
    assert vector.shape == (answer["dimension"],)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_tokens_answers_with_what_and_where(server: Server, folder: Path) -> None:
    line = "curl --data-binary @cat.jpg -H 'content-type: image/jpeg' localhost:8000/tokens"
    answer = json.loads(curl(line, server, folder))
    item = answer["data"][0]
    assert np.array(item["semantics"]).shape == (answer["num_sparse_tokens"], answer["width"])
    localization = np.array(item["localization"])
    assert localization.shape == (*answer["grid"], answer["num_sparse_tokens"])
    np.testing.assert_allclose(localization.sum(2), 1, atol=1e-5)


def test_reconstruct_writes_an_edited_picture(server: Server, folder: Path) -> None:
    edits = """-F 'edits=[{"op":"drop","token":3}]'"""
    edited = f"curl -F image=@cat.jpg {edits} localhost:8000/reconstruct -o out.png"
    plain = "curl -F image=@cat.jpg localhost:8000/reconstruct -o plain.png"
    for line in (edited, plain):
        curl(line, server, folder)
    pictures = [pixels_of((folder / name).read_bytes()).astype(int) for name in ("out.png", "plain.png")]
    side = server.client.get("/models").json()["models"][0]["image_size"]
    assert pictures[0].shape == pictures[1].shape == (side, side, 3)
    assert np.abs(pictures[0] - pictures[1]).max() > 0


def test_refused_body_is_told_before_it_is_sent(server: Server, folder: Path) -> None:
    """curl asks first for a large body (Expect: 100-continue), and gets the answer instead."""
    with (folder / "cat.jpg").open("ab") as file:
        file.truncate(65 * 2**20)
    line = "curl --data-binary @cat.jpg -H 'content-type: image/jpeg' localhost:8000/embed"
    line = line.replace("localhost:8000", f"127.0.0.1:{server.port}")
    done = subprocess.run(
        [*shlex.split(line), "--silent", "--noproxy", "*"],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout)["code"] == "body_too_large"

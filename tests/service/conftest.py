"""A real server process, photos to send to it, and a small bundle for what the real one can't do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.photos import photo as sample
from tests.service.server import Server, running
from tests.service.toy import write_toy


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the bundled model and default settings, for tests that leave it as it is."""
    with running(tmp_path_factory.mktemp("server") / "log", {}) as started:
        yield started


@pytest.fixture
def client(server: Server) -> httpx.Client:
    """A client of that server."""
    return server.client


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A photo as JPEG."""
    return sample("chelsea")


@pytest.fixture(scope="session")
def other_photo() -> bytes:
    """Another one."""
    return sample("coffee")


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy bundle."""
    models = tmp_path_factory.mktemp("models")
    write_toy(models / "toy")
    return models

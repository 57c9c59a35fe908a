"""Real servers: one for the whole session with the bundled model, and others with settings of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from tests.service.server import Server
from tests.service.toy import write_toy


class StartServer(Protocol):
    """Starts a server that ends with the test's module."""

    def __call__(self, *arguments: str, command: list[str] | None = None, **settings: str) -> Server: ...


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The bundled model with default settings."""
    server = Server(tmp_path_factory.mktemp("server") / "log", [], {})
    yield server.wait_until_ready()
    assert server.stop() == 0


@pytest.fixture(scope="session")
def client(server: Server) -> httpx.Client:
    """A client of the session's server."""
    return server.client


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """A factory; settings are named without their prefix, in capitals or not."""
    servers: list[Server] = []

    def start(*arguments: str, command: list[str] | None = None, **settings: str) -> Server:
        variables = {f"STELLAR_{name.upper()}": value for name, value in settings.items()}
        log = tmp_path_factory.mktemp("server") / "log"
        servers.append(Server(log, list(arguments), variables, command))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy bundle."""
    models = tmp_path_factory.mktemp("models")
    write_toy(models / "toy")
    return models

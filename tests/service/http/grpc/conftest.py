"""A server that listens for gRPC, too, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.service.http.grpc.wire import channel
from tests.service.server import Server, running

GRPC = {"STELLAR_GRPC_PORT": "0"}


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One with the bundled model, whose longest message is 42 MiB on any machine."""
    settings = GRPC | {"STELLAR_BODY_MEMORY": str(2**30)}
    with running(tmp_path_factory.mktemp("grpc") / "log", settings) as server:
        yield server


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, toy_models: Path) -> Iterator[Server]:
    """One with the small model, behind a limit of a million bytes."""
    settings = GRPC | {"STELLAR_MAX_BODY_BYTES": "1000000"}
    with running(tmp_path_factory.mktemp("grpc") / "log", settings, "--models", str(toy_models)) as server:
        yield server


@pytest.fixture
def toy_channel(toy: Server) -> Iterator[grpc.Channel]:
    with channel(toy) as opened:
        yield opened

"""Clients of the server that the tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.client import StellarClient
from tests.service.server import Server


@pytest.fixture
def stellar(server: Server) -> Iterator[StellarClient]:
    """The blocking client; it runs the one for asyncio."""
    with StellarClient(server.url) as client:
        yield client

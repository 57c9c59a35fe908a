"""Triton's client, talking to the server that the service's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tritonclient.http import InferenceServerClient

from tests.service.server import Server


@pytest.fixture(scope="module")
def triton(server: Server) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client

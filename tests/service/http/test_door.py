"""Places at the door: who has long rested goes first, and probes are always let in."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.http.door import SPARE
from tests.service.photos import plain
from tests.service.server import Server, running
from tests.service.wire import connect, exchange, open_files, post, read, told

MOST = 8
PICTURE = plain(0)
ASK = b"GET /healthz/live HTTP/1.1\r\nhost: x\r\n"
FEW_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (8, 64))
sys.argv[1:1] = ["serve"]
from service.cli import app
app()
"""


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory, toy_models: Path) -> Iterator[Server]:
    """A server with few places, where one may be silent for long."""
    settings = {
        "STELLAR_MAX_CONNECTIONS": str(MOST),
        "STELLAR_HEADER_TIMEOUT_S": "600",
        "STELLAR_REQUEST_TIMEOUT_S": "600",
    }
    log = tmp_path_factory.mktemp("narrow") / "log"
    with running(log, settings, "--models", str(toy_models)) as server:
        yield server


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def hold(stack: ExitStack, server: Server, count: int, sent: bytes = b"") -> list[socket.socket]:
    """Connections that stay open until the test is over."""
    return [stack.enter_context(connect(server, sent)) for _ in range(count)]


def gets(server: Server, path: str) -> bool:
    """Whether one who comes anew gets a page."""
    ask = f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    return exchange(server, ask.encode()).startswith(b"HTTP/1.1 200 ")


def embeds(server: Server) -> bool:
    """Whether one who comes anew gets an answer."""
    answer = exchange(server, post("/embed", len(PICTURE), "connection: close") + PICTURE)
    return answer.startswith(b"HTTP/1.1 200 ") and b'"embedding"' in answer


@pytest.mark.parametrize("sent", [b"", ASK, ASK + b"\r\n"], ids=["silent", "slow", "answered"])
def test_connections_at_rest_keep_nobody_out(narrow: Server, stack: ExitStack, sent: bytes) -> None:
    before = open_files(narrow)
    hold(stack, narrow, 5 * MOST, sent)
    assert gets(narrow, "/healthz/ready")
    assert embeds(narrow)
    assert open_files(narrow) <= before + MOST + 1


def test_answers_that_are_not_taken_keep_nobody_out(narrow: Server, stack: ExitStack) -> None:
    ask = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n"
    for _ in range(2 * MOST):
        stack.enter_context(connect(narrow, 8 * ask, receive_buffer=4096))
    narrow.wait_until(lambda: embeds(narrow))


def test_who_has_rested_longest_goes(narrow: Server, stack: ExitStack) -> None:
    first, asking = hold(stack, narrow, 2)
    for _ in range(2 * MOST):
        hold(stack, narrow, 1)
        asking.sendall(ASK.replace(b"GET", b"HEAD") + b"\r\n")
        assert asking.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert read(first) == b""


def test_where_all_are_at_work_probes_are_answered_and_others_told(narrow: Server, stack: ExitStack) -> None:
    uploads = hold(stack, narrow, MOST, post("/embed", len(PICTURE), "connection: close"))
    narrow.wait_until(lambda: told(exchange(narrow, post("/embed", 9))) == (503, "too_busy"))
    answer = exchange(narrow, post("/embed", 9))
    assert b"\r\nretry-after: 1\r\n" in answer
    assert b"\r\nconnection: close\r\n" in answer
    hold(stack, narrow, 3 * SPARE)
    assert all(gets(narrow, path) for path in ("/healthz/ready", "/metrics"))
    for upload in uploads:
        upload.sendall(PICTURE)
        assert b" 200 OK" in read(upload)
    assert embeds(narrow)


def test_connections_leave_descriptors_for_the_rest(
    tmp_path: Path, toy_models: Path, stack: ExitStack
) -> None:
    """The process takes as many as it may have."""
    with running(tmp_path / "log", {}, "--models", str(toy_models), command=("-c", FEW_FILES)) as server:
        hold(stack, server, 200)
        assert embeds(server)
        assert gets(server, "/docs")
        assert open_files(server) < 64


def test_no_descriptor_left_is_told_and_passes(narrow: Server) -> None:
    narrow.wait_until(lambda: narrow.answers("/healthz/live", 200))
    before = resource.prlimit(narrow.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(narrow.process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        answer = narrow.client.get("/docs/swagger-ui.css")
    finally:
        resource.prlimit(narrow.process.pid, resource.RLIMIT_NOFILE, before)
    assert (answer.status_code, answer.json()["code"]) == (503, "too_busy")
    assert narrow.logged("no_descriptors")
    assert narrow.answers("/docs/swagger-ui.css", 200)

"""Bodies that are read at the same time: all together, and those of one client."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import pytest

from service.http.bodies import COPIES
from tests.service.photos import photo, plain
from tests.service.server import Server, running
from tests.service.wire import connect, exchange, post, told

MEMORY = 4 * 2**20
LARGEST = MEMORY // COPIES
PICTURE = plain(0)
FIRST, SECOND = "x-api-key: first", "x-api-key: second"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, toy_models: Path) -> Iterator[Server]:
    """A server with little memory for bodies, and two clients."""
    settings = {"STELLAR_BODY_MEMORY": str(MEMORY), "STELLAR_API_KEYS": "first,second"}
    log = tmp_path_factory.mktemp("bodies") / "log"
    with running(log, settings, "--models", str(toy_models)) as server:
        yield server


def embedded(server: Server, key: str) -> bytes:
    return exchange(server, post("/embed", len(PICTURE), key, "connection: close") + PICTURE)


def is_refused(server: Server, length: int, key: str) -> bool:
    """Whether a body of this length is, before any of it comes: asking holds nothing."""
    with connect(server, post("/embed", length, key, "expect: 100-continue")) as asking:
        return asking.recv(12) == b"HTTP/1.1 503"


def test_body_that_can_never_fit_is_too_large(server: Server) -> None:
    assert told(exchange(server, post("/embed", LARGEST + 1, FIRST, "expect: 100-continue"))) == (
        413,
        "body_too_large",
    )


def test_bodies_of_one_client_take_half_and_others_go_on(server: Server) -> None:
    part = 0.4 * LARGEST
    with ExitStack() as stack:
        held = stack.enter_context(connect(server, post("/embed", LARGEST, FIRST) + int(part) * b"a"))
        whole = post("/embed", int(part), FIRST, "connection: close") + int(part) * b"a"
        server.wait_until(lambda: is_refused(server, int(part), FIRST))
        assert told(exchange(server, whole)) == (503, "too_busy")
        answer = exchange(server, post("/embed", int(part), FIRST, "expect: 100-continue"))
        assert b"\r\nretry-after: 1\r\n" in answer
        assert b"100 Continue" not in answer
        for key in (FIRST, SECOND):
            assert b" 200 OK" in embedded(server, key)
        large = exchange(server, post("/embed", int(part), SECOND, "connection: close") + int(part) * b"a")
        assert told(large) == (422, "unknown_image_format")
        held.close()
    server.wait_until(
        lambda: (
            told(exchange(server, post("/embed", LARGEST, FIRST, "connection: close") + LARGEST * b"a"))
            == (422, "unknown_image_format")
        )
    )


def test_all_bodies_together_are_bounded(server: Server) -> None:
    part = int(0.7 * LARGEST)
    with connect(server, post("/embed", LARGEST, FIRST) + part * b"a"):
        server.wait_until(lambda: is_refused(server, part, SECOND))
        whole = post("/embed", part, SECOND, "connection: close") + part * b"a"
        assert told(exchange(server, whole)) == (503, "too_busy")
        chunked = post("/embed", 0, SECOND).replace(b"content-length: 0", b"transfer-encoding: chunked")
        sent = chunked + b"%x\r\n" % part + part * b"a"
        grown = connect(server, sent)
        assert grown.recv(12) == b"HTTP/1.1 503"
        grown.close()
        assert b" 200 OK" in embedded(server, SECOND)


def test_compressed_bodies_count_as_what_they_are(server: Server) -> None:
    zeros = gzip.compress(bytes(int(0.9 * LARGEST)))
    with connect(server, post("/embed", LARGEST, FIRST) + int(0.3 * LARGEST) * b"a"):
        server.wait_until(lambda: is_refused(server, LARGEST, SECOND))
        head = post("/embed", len(zeros), SECOND, "content-encoding: gzip", "connection: close")
        assert told(exchange(server, head + zeros)) == (503, "too_busy")
        assert b" 200 OK" in embedded(server, SECOND)


def test_pieces_of_any_length_are_read_in_order(server: Server) -> None:
    picture, lengths = photo("chelsea", "PNG"), cycle((1, 2, 3000, 1, 70_000))
    pieces, at = [], 0
    while at < len(picture):
        pieces.append(picture[at : at + next(lengths)])
        at += len(pieces[-1])
    frames = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    head = post("/embed", 0, FIRST, "connection: close")
    chunked = head.replace(b"content-length: 0", b"transfer-encoding: chunked")
    answers = [
        exchange(server, chunked + frames + b"0\r\n\r\n"),
        exchange(server, post("/embed", len(picture), FIRST, "connection: close") + picture),
    ]
    in_pieces, whole = (answer.partition(b"\r\n\r\n")[2] for answer in answers)
    assert b" 200 OK" in answers[0]
    assert in_pieces == whole

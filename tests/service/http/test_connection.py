"""What strangers may send before any key is looked at: no more than so much, no slower than so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.http.connection import MAX_HEAD_BYTES, MAX_HEADERS, MAX_PIPELINED, MAX_URL_BYTES
from tests.service.photos import plain
from tests.service.server import Server, running
from tests.service.wire import connect, exchange, open_files, post, read, told

PICTURE = plain(0)
ASK = b"GET /healthz/live HTTP/1.1\r\nhost: x\r\n"
CHUNKED = b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n"
LONG = MAX_HEAD_BYTES + 1


@pytest.fixture(scope="module")
def brisk(tmp_path_factory: pytest.TempPathFactory, toy_models: Path) -> Iterator[Server]:
    """A server that waits a second for what must come, and six for what may."""
    settings = {
        "STELLAR_HEADER_TIMEOUT_S": "1",
        "STELLAR_KEEP_ALIVE_S": "6",
        "STELLAR_API_KEYS": "secret",
    }
    log = tmp_path_factory.mktemp("brisk") / "log"
    with running(log, settings, "--models", str(toy_models)) as server:
        server.client.headers["x-api-key"] = "secret"
        yield server


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (ASK + b"x: " + LONG * b"a", 431, "head_too_large"),
        (ASK + MAX_HEADERS * b"x: a\r\n" + b"\r\n", 431, "head_too_large"),
        (LONG * b"\r\n", 431, "head_too_large"),
        (b"GET /" + MAX_URL_BYTES * b"a" + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414, "address_too_long"),
        (b"hello\r\n\r\n", 400, "malformed_request"),
        (b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n", 400, "malformed_request"),
    ],
    ids=["long", "many lines", "empty lines", "address", "no HTTP", "CONNECT"],
)
def test_head_that_can_not_be_taken_is_told_and_counted(
    brisk: Server, request_: bytes, status: int, code: str
) -> None:
    counted = (
        f'stellar_rejected_total{{reason="{code}"}}',
        f'stellar_requests_total{{route="unknown",status="{status}"}}',
    )
    before = [brisk.metric(line) for line in counted]
    answer = exchange(brisk, request_)
    assert told(answer) == (status, code)
    assert b"\r\nconnection: close\r\n" in answer
    assert b"\r\nx-request-id: " in answer
    assert [brisk.metric(line) for line in counted] == [count + 1 for count in before]
    assert brisk.logged("refused")[-1]["code"] == code


def test_head_is_refused_in_the_words_of_its_path(brisk: Server) -> None:
    answer = exchange(brisk, b"GET /v1/models?" + MAX_URL_BYTES * b"a" + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    assert b'{"error":{"message":"The address is too long: ' in answer


def test_long_head_takes_no_memory(brisk: Server) -> None:
    def peak_kb() -> int:
        status = Path(f"/proc/{brisk.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    before = peak_kb()
    for _ in range(8):
        assert told(exchange(brisk, ASK + b"x: " + 2**21 * b"a")) == (431, "head_too_large")
    assert peak_kb() - before < 4096


@pytest.mark.parametrize(
    "sent",
    [
        b"5;" + LONG * b"a",
        b"0\r\n" + LONG // 6 * b"a: b\r\n" + b"a: b\r\n",
        b"10000\r\n" + 2**16 * b"a" + b"\r\n0\r\n" + 2**19 // 6 * b"a: b\r\n",
        b"no number\r\n",
    ],
    ids=["extension", "trailers", "trailers of a long body", "no number"],
)
def test_body_in_chunks_that_are_none_is_refused(brisk: Server, sent: bytes) -> None:
    request = CHUNKED.replace(b"host: x", b"host: x\r\nx-api-key: secret")
    assert told(exchange(brisk, request + sent)) == (400, "malformed_request")


def test_body_in_small_chunks_is_read(brisk: Server) -> None:
    request = CHUNKED.replace(b"host: x", b"host: x\r\nconnection: close\r\nx-api-key: secret")
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in (PICTURE[:1], PICTURE[1:9], PICTURE[9:])]
    assert b" 200 OK" in exchange(brisk, request + b"".join(chunks) + b"0\r\nx-trailer: a\r\n\r\n")


def test_silent_connection_is_closed_without_a_word(brisk: Server) -> None:
    assert read(connect(brisk)) == b""


def test_connection_that_was_answered_may_rest_for_longer_and_is_closed_in_the_end(brisk: Server) -> None:
    answered = connect(brisk, ASK + b"\r\n")
    assert answered.recv(65536).startswith(b"HTTP/1.1 200 OK")
    assert read(connect(brisk)) == b""  # a silent one has come and gone since
    answered.sendall(ASK + b"\r\n")
    assert read(answered).count(b"HTTP/1.1 200 OK") == 1


def test_head_that_does_not_end_is_told(brisk: Server) -> None:
    assert told(read(connect(brisk, ASK))) == (408, "request_timeout")


def test_body_that_stalls_is_told_and_counted(brisk: Server) -> None:
    counted = 'stellar_requests_total{route="/embed",status="408"}'
    before = brisk.metric(counted)
    # What came fast at first buys no time.
    stalled = connect(brisk, post("/embed", 2**20, "x-api-key: secret") + PICTURE + 2**19 * b"a")
    assert brisk.answers("/healthz/ready", 200)
    assert brisk.embedded(PICTURE)
    answer = read(stalled)
    assert told(answer) == (408, "request_timeout")
    assert b"\r\nconnection: close\r\n" in answer
    assert brisk.metric(counted) == before + 1


def test_body_that_is_slow_but_steady_is_read(brisk: Server, photo: bytes) -> None:
    connection = connect(brisk, post("/embed", len(photo), "x-api-key: secret", "connection: close"))
    step = len(photo) // 8
    for start in range(0, len(photo), step):
        time.sleep(0.2)  # longer than the head may take, all in all
        connection.sendall(photo[start : start + step])
    assert b" 200 OK" in read(connection)


def test_offer_of_another_protocol_is_not_taken_and_the_body_is_read(brisk: Server) -> None:
    """As Java's client and `curl --http2` make it with every request."""
    offer = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABk")
    head = post("/embed", len(PICTURE), "x-api-key: secret", *offer)
    answer = exchange(brisk, head + PICTURE + ASK + b"connection: close\r\n\r\n")
    assert [answer.count(each) for each in (b"HTTP/1.1 200 OK", b'"embedding"', b'"live"')] == [1 + 1, 1, 1]


def test_requests_that_do_not_wait_for_answers_are_answered_in_order_up_to_a_number(brisk: Server) -> None:
    three = b"".join(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number for number in range(3))
    answers = exchange(brisk, three)
    places = [answers.find(b"There is nothing at /%d" % number) for number in range(3)]
    assert -1 < places[0] < places[1] < places[2]
    many = exchange(brisk, 3 * MAX_PIPELINED * (ASK + b"\r\n"))
    assert many.count(b"HTTP/1.1 200 OK") == MAX_PIPELINED + 1


def test_requests_with_long_heads_that_do_not_wait_are_fewer(brisk: Server, photo: bytes) -> None:
    long = ASK + b"x: " + MAX_HEAD_BYTES // 3 * b"a" + b"\r\n\r\n"
    answers = exchange(
        brisk, post("/embed", len(photo), "x-api-key: secret") + photo + 3 * MAX_PIPELINED * long
    )
    assert 1 < answers.count(b"HTTP/1.1 200 OK") < MAX_PIPELINED


def test_answer_that_is_not_taken_is_dropped(tmp_path: Path, toy_models: Path) -> None:
    settings = {"STELLAR_REQUEST_TIMEOUT_S": "1"}
    with running(tmp_path / "log", settings, "--models", str(toy_models)) as server:
        path = "/docs/swagger-ui-bundle.js"
        length = int(server.client.head(path).headers["content-length"])
        ask = b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path.encode()
        before = open_files(server)
        stuck = connect(server, 8 * ask, receive_buffer=4096)
        server.wait_until(lambda: open_files(server) > before)
        server.wait_until(lambda: open_files(server) <= before)
        assert len(read(stuck)) < 8 * length

"""What holds for every request, whatever its route."""

from __future__ import annotations

import re

from tests.service.server import Server
from tests.service.wire import exchange

MADE = re.compile("[0-9a-f]{32}")


def test_every_answer_has_an_id(server: Server) -> None:
    for path in ("/healthz/live", "/metrics", "/docs", "/nope"):
        assert MADE.fullmatch(server.client.get(path).headers["x-request-id"])
    problem = server.client.get("/nope")
    assert problem.json()["request_id"] == problem.headers["x-request-id"]


def test_ids_that_could_forge_a_log_line_are_replaced(server: Server) -> None:
    for bad in ("a b", '"quoted"', "x" * 65, "\u00e9"):
        answer = server.client.get("/healthz/live", headers={b"x-request-id": bad.encode()})
        assert MADE.fullmatch(answer.headers["x-request-id"])


def test_allowed_methods_are_named(server: Server) -> None:
    answer = server.client.get("/embed")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_large_body_is_refused_before_it_is_sent(server: Server) -> None:
    """A client that waits for leave to send gets the refusal in place of leave."""
    request = (
        b"POST /embed HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: image/png\r\n"
        b"expect: 100-continue\r\ncontent-length: 9999999999\r\n\r\n"
    )
    counted = (
        'stellar_requests_total{route="/embed",status="413"}',
        'stellar_rejected_total{reason="body_too_large"}',
    )
    before = [server.metric(line) for line in counted]
    answer = exchange(server, request)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"body_too_large"' in answer
    assert [server.metric(line) for line in counted] == [count + 1 for count in before]


def test_requests_are_counted_by_template_and_status(server: Server) -> None:
    line = 'stellar_requests_total{route="unknown",status="404"}'
    before = server.metric(line)
    for number in range(3):
        server.client.get(f"/nope/{number}")
    assert server.metric(line) == before + 3
    assert server.metric('stellar_requests_total{route="/embed",status="405"}') >= 0


def test_every_request_is_a_line_in_the_log(server: Server) -> None:
    server.client.get("/nope?key=secret", headers={"x-request-id": "a-line"})
    server.wait_until(lambda: any(line["request_id"] == "a-line" for line in server.logged("request")))
    (line,) = [line for line in server.logged("request") if line["request_id"] == "a-line"]
    assert (line["method"], line["path"], line["status"], line["level"]) == ("GET", "/nope", 404, "info")
    assert line["duration_ms"] > 0
    assert "secret" not in server.log


def test_answers_tell_where_their_time_went(server: Server, photo: bytes) -> None:
    responds = 'stellar_stage_duration_seconds_count{stage="respond"}'
    before = server.metric(responds)
    embedded = server.client.post("/embed", files={"image": photo}).headers["server-timing"]
    drawn = server.client.post("/reconstruct", files={"image": photo}).headers["server-timing"]
    part = r"{};dur=\d+\.\d"
    assert re.fullmatch(", ".join(map(part.format, ("decode", "encode", "respond"))), embedded)
    assert re.fullmatch(", ".join(map(part.format, ("decode", "encode", "draw", "respond"))), drawn)
    assert server.metric(responds) == before + 2

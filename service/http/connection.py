"""A connection, with bounds on what a stranger may send before any key is looked at.

It is uvicorn's with httptools, which is fast and has no limits of its own; the one with h11 limits heads
only, and takes longer for each request. What is added stands in the methods that the two libraries call.
The door has it looked at a few times a second, so that no request has to start a timer.
"""

from __future__ import annotations

import asyncio
import http
import random
from collections.abc import Iterable, Iterator
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.errors import (
    AddressTooLong,
    HeadTooLarge,
    MalformedRequest,
    RequestTimeout,
    ServiceError,
    TooBusy,
)
from service.http.dialects import error_response
from service.http.door import Door
from service.http.pace import Pace

MAX_HEAD_BYTES = 64 * 2**10
MAX_HEADERS = 100
MAX_URL_BYTES = 16 * 2**10
AROUND = 8
"""Bytes around each byte of a body in chunks: where it is a chunk of its own, there are five."""
MAX_PIPELINED = 16
"""Requests that may wait for the answer to the one before, with heads of `MAX_HEAD_BYTES` together."""


class Connection(HttpToolsProtocol):
    """From its opening to its end: it waits for a head, reads a body, answers, and waits again."""

    def __init__(self, door: Door, **given: Any) -> None:
        super().__init__(**given)
        self._door = door
        self._spare = False
        """Whether it was let in beyond the most, where all others were at work."""
        self._since = 0.0
        """When it was opened, the head at work began, or the last answer was written."""
        self.url = b""
        self._in_head = False
        self._in_body = False
        self._parting = False
        """What still comes is thrown away: the answer that is told, or being made, is the last."""
        self._framing = 0
        """Bytes of the message at work that are no body, save those that the body behind them may have around
        it: a long body earns no room for trailers."""
        self._body = Pace()
        self._answer = Pace()
        self._pending = 0
        """Bytes of answers that the client had not taken when it was last looked at."""
        self._answering: RequestResponseCycle | None = None
        """The request at work that came first; `cycle` is the last."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._way_out = _WayOut(self, transport)
        self._since = self.loop.time()
        self._spare = self._door.enter(transport, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.leave(self.transport)
        if self._answering is not None:  # uvicorn would tell the last one only
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    @property
    def at_work(self) -> bool:
        """Whether a request waits for its answer."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _at_rest(self) -> bool:
        """Whether it was answered, and nothing of a next request has come."""
        busy = self.at_work or self._in_head or self._in_body or self._parting
        return self.cycle is not None and not busy

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._parting or (self._in_body and not self.at_work):  # it is thrown away
            self._door.throw_away(self.transport)
        if self._parting:
            return
        self._framing += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._go_on_without_upgrade(data[offer.args[0] :])
        except httptools.HttpParserError as error:
            told = error.__context__
            self._refuse(told if isinstance(told, ServiceError) else MalformedRequest())
        else:
            if self._framing > MAX_HEAD_BYTES:
                self._refuse(MalformedRequest() if self._in_body else HeadTooLarge())

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read a request as if it had not offered another protocol, for which the parser skips its body."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        kept = [(name, value) for name, value in self.headers if name != b"upgrade"]
        head = [method, b" ", self.url, b" HTTP/", version, b"\r\n", *_lines(kept), b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        self._framing = 0
        self.data_received(b"".join(head) + rest)

    # What the parser calls; errors that are raised here come out of `feed_data`.
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        if not self.at_work:
            self._since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # a trailer is nothing that anybody reads
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.url) > MAX_URL_BYTES:
            raise AddressTooLong
        if len(self.headers) > MAX_HEADERS or _length(self.headers) > MAX_HEAD_BYTES:
            raise HeadTooLarge
        heads = (
            len(cycle.scope["raw_path"]) + len(cycle.scope["query_string"]) + _length(cycle.scope["headers"])
            for cycle, _ in self.pipeline
        )
        if len(self.pipeline) >= MAX_PIPELINED or sum(heads) > MAX_HEAD_BYTES:
            raise MalformedRequest
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise MalformedRequest
            return
        if self._spare and self._door.refuses(self.url):
            raise TooBusy
        super().on_headers_complete()
        self.cycle.transport = self._way_out
        if not self.pipeline:
            self._answering = self.cycle
        if self.expect_100_continue:
            self.cycle.keep_alive = False  # who is refused may send the body, or leave it away
        self._door.work(self.transport)
        self._in_body = True
        self._body.begin()

    def on_body(self, body: bytes) -> None:
        self._framing = max(0, self._framing - (1 + AROUND) * len(body))
        self._body.moved += len(body)
        if not self.cycle.body:
            self.cycle.body = b""  # type: ignore[assignment] # what is added to it is not copied, nor when taken
        elif isinstance(self.cycle.body, bytes):
            self.cycle.body = bytearray(self.cycle.body)  # the next ones would be copied all over again
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._framing = 0
        if self._in_body:
            self._in_body = False
            super().on_message_complete()

    def on_response_complete(self) -> None:
        self._answering = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if not self.at_work:
            self._since = self.loop.time()
            self._door.rest(self.transport)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._door.rest(self.transport)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.at_work:
            self._door.work(self.transport)

    def _check(self, now: float, tick_s: float) -> None:
        """End what takes too long: a head, a body, an answer that is not taken, silence."""
        limits = self._door.limits
        if self._is_stuck(tick_s):
            self.transport.abort()
        elif self.at_work:
            waited_for = self._in_body and not self.flow.read_paused
            if waited_for and self._body.too_slow(tick_s, limits.header_timeout_s, limits.min_body_rate):
                rate = f"{limits.min_body_rate} bytes a second"
                self._refuse(RequestTimeout(f"The body came too slowly: expected {rate}."))
        elif now - self._since > (limits.keep_alive_s if self._at_rest else limits.header_timeout_s):
            if self._in_head and not self._parting:
                self._refuse(RequestTimeout("The head of the request took too long: send it at once."))
            else:
                self.transport.close()

    def _is_stuck(self, tick_s: float) -> bool:
        """Whether the client takes too long to take its answer."""
        pending, before = self.transport.get_write_buffer_size(), self._pending
        self._pending = pending
        if not pending or pending > before:
            self._answer.begin()
            return False
        self._answer.moved = before - pending
        limits = self._door.limits
        return self._answer.too_slow(tick_s, limits.request_timeout_s, limits.min_body_rate)

    def _refuse(self, error: ServiceError) -> None:
        """Answer, and part. A request at work is answered first, by this error where its body is refused."""
        self._parting = True
        if self.at_work:
            self.cycle.keep_alive = False
            if self._in_body:
                self.cycle.scope["state"]["refusal"] = error
                self.cycle.message_event.set()
            return
        request_id = f"{random.getrandbits(128):032x}"
        self._door.refused(error, request_id, self.client)
        path = self.url.partition(b"?")[0].decode("latin-1")
        answer = error_response(path, error, request_id)
        phrase = http.HTTPStatus(answer.status_code).phrase.encode()
        headers = [
            *self.server_state.default_headers,
            *answer.raw_headers,
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        status = b"HTTP/1.1 %d %s\r\n" % (answer.status_code, phrase)
        self.transport.write(b"".join([status, *_lines(headers), b"\r\n", bytes(answer.body)]))
        self.transport.write_eof()
        self._since = self.loop.time()

    def part(self) -> None:
        """End after an answer. Closed while its body still comes, the client might not get to read it."""
        self._parting = True
        if self._in_body and not self.at_work and not self.transport.is_closing():
            self.transport.write_eof()
        else:
            self.transport.close()


class _WayOut(asyncio.Transport):
    """What a request answers on: the connection's transport, left as the connection leaves it."""

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        super().__init__()
        self._connection = connection
        self._transport = transport

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self._transport.write(data)

    def close(self) -> None:
        self._connection.part()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


def _length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) for name, value in headers)


def _lines(headers: list[tuple[bytes, bytes]]) -> Iterator[bytes]:
    for name, value in headers:
        yield from (name, b": ", value, b"\r\n")

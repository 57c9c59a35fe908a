"""Bodies in gzip or deflate; the latter is zlib's format, as HTTP has it (RFC 9110, 8.4.1)."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BadRequest, BodyTooLarge, UnsupportedEncoding, shown
from service.http.documents import PIECE_BYTES
from service.http.responses import weighted

WINDOW_BITS: Mapping[str, int] = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
TINY_BYTES = 512
"""So little becomes half a million bytes at most: that takes no longer than to wake a thread."""
LEVEL = 1
"""The fastest: floating-point numbers hardly get smaller by trying harder."""


class Decompression:
    """Hands on bodies as they were before their Content-Encoding, up to a number of bytes.

    Reading a body raises `UnsupportedEncoding`, `BadRequest` for one that is damaged, and `BodyTooLarge`.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and (encoding := _encoding(scope)) not in ("", "identity"):
            receive = _Decompressed(receive, encoding, self._max_bytes)
        await self._app(scope, receive, send)


class _Decompressed:
    """A body's `receive`. However small its pieces are compressed, they come in small ones."""

    def __init__(self, receive: Receive, encoding: str, max_bytes: int) -> None:
        self._receive = receive
        self._encoding = encoding
        self._max_bytes = max_bytes
        self._left = max_bytes
        self._message: Message = {}
        self._more = False  # whether the message that came last has more to give
        known = encoding in WINDOW_BITS
        self._stream = zlib.decompressobj(WINDOW_BITS[encoding]) if known else None

    async def __call__(self) -> Message:
        if self._stream is None:
            raise UnsupportedEncoding(
                f"Content-Encoding: expected {' or '.join(WINDOW_BITS)}, got {shown(self._encoding)}; "
                "or send the body as it is."
            )
        if not self._more:
            self._message = await self._receive()
        if self._message["type"] != "http.request":
            return self._message
        body = self._stream.unconsumed_tail if self._more else self._message.get("body", b"")
        plain = b""
        if body or self._more:
            tiny = len(body) <= TINY_BYTES and not self._more
            plain = self._decompress(body) if tiny else await asyncio.to_thread(self._decompress, body)
        self._more = len(plain) == PIECE_BYTES
        over = not self._more and not self._message.get("more_body", False)
        if self._stream.unused_data or (over and not self._stream.eof):
            raise BadRequest(
                f"The {self._encoding} body is cut short, or has something behind its end: send it whole."
            )
        return {**self._message, "body": plain, "more_body": not over}

    def _decompress(self, body: bytes) -> bytes:
        assert self._stream is not None
        try:
            plain = self._stream.decompress(body, PIECE_BYTES)
        except zlib.error:
            raise BadRequest(
                f"The body is no valid {self._encoding}: compress it so, or leave Content-Encoding away."
            ) from None
        self._left -= len(plain)
        if self._left < 0:
            raise BodyTooLarge(
                f"A request may have {self._max_bytes} bytes, decompressed too; send less at once."
            )
        return plain


def _encoding(scope: Scope) -> str:
    """All of its Content-Encoding, in lower case; `x-gzip` is gzip (RFC 9110, 8.4.1.3)."""
    named = [value.decode("latin-1") for key, value in scope["headers"] if key == b"content-encoding"]
    encoding = ", ".join(named).strip().lower()
    return "gzip" if encoding == "x-gzip" else encoding


def accepted_encoding(accept: str) -> str | None:
    """The encoding that the Accept-Encoding header likes best, or None for none."""
    weights = dict(weighted(part) for part in accept.split(","))
    best = max(WINDOW_BITS, key=lambda encoding: weights.get(encoding, 0.0))
    return best if weights.get(best, 0.0) > 0 else None


def compress(body: bytes, encoding: str) -> bytes:
    """A body in an encoding."""
    stream = zlib.compressobj(LEVEL, wbits=WINDOW_BITS[encoding])
    return stream.compress(body) + stream.flush()

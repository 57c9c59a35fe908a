"""Bodies in gzip or deflate; the latter is zlib's format, as HTTP has it (RFC 9110, 8.4.1)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from service.errors import BadRequest, BodyTooLarge, UnsupportedMediaType
from service.http.responses import weighted

WINDOW_BITS: Mapping[str, int] = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
LEVEL = 1
"""The fastest: floating-point numbers hardly get smaller by trying harder."""


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """A body as it was before its Content-Encoding; empty or `identity` changes nothing.

    Raises `UnsupportedMediaType`, `BadRequest`, and `BodyTooLarge` for more than `max_bytes`.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in WINDOW_BITS:
        raise UnsupportedMediaType(f"Content-Encoding: expected gzip or deflate, got {encoding!r}.")
    stream = zlib.decompressobj(WINDOW_BITS[encoding])
    try:
        plain = stream.decompress(body, max_bytes + 1)
    except zlib.error:
        raise BadRequest(f"The body is no valid {encoding}.") from None
    if len(plain) > max_bytes:
        raise BodyTooLarge(f"A request may have {max_bytes} bytes, decompressed too; send less at once.")
    if not stream.eof or stream.unused_data:
        raise BadRequest(f"The {encoding} body is cut short, or has something behind its end.")
    return plain


def accepted_encoding(accept: str) -> str | None:
    """The encoding that the Accept-Encoding header likes best, or None for none."""
    weights = dict(weighted(part) for part in accept.split(","))
    best = max(WINDOW_BITS, key=lambda encoding: weights.get(encoding, 0.0))
    return best if weights.get(best, 0.0) > 0 else None


def compress(body: bytes, encoding: str) -> bytes:
    """A body in an encoding."""
    stream = zlib.compressobj(LEVEL, wbits=WINDOW_BITS[encoding])
    return stream.compress(body) + stream.flush()

"""A JSON document: what reading it would build is counted first, and long texts stay in the body.

Parsers hold Python's lock. A body of the largest size, read whole, would stop every other request for a
third of a second and take several times its size, for images that are decoded and forgotten.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request

from service.errors import BadRequest, JsonTooLarge

SMALL_BYTES = 2**18
"""JSON up to this size is read before a thread would wake, and can hold little enough not to be counted."""
LONG_TEXT_BYTES = 2**10
"""Longer texts are left in the body."""
MAX_LISTS = 70_000
"""Most lists and objects: those of a picture of 256 × 256 pixels, each a list."""
MAX_VALUES = 2**19
"""Tokens of 32 images of 224 × 224 pixels as numbers, and some more."""
MAX_TEXTS = 25_000
"""Most strings, keys too: ten for each image of the longest list that /v1/embeddings takes."""
MAX_BYTES = 12 * 2**20
"""Most bytes beside long texts: half a million numbers with all their digits."""
MAX_ESCAPED_BYTES = 4 * 2**20
"""Most bytes of long names, and of long texts that are no base64: a wide character makes them four times as
long."""
NAME_ENDS = re.compile(rb'"\s{0,99}:')
NO_BASE64 = (b"\\u", b"\\\\", b'\\"')
"""Escapes that base64 does not have, where / and line breaks may have one."""
NO_JSON = (b"\n", b"\r", b"\t", b"\v", b"\f")
"""What base64 may have, and JSON only with an escape."""

PIECE_BYTES = 2**20
"""What is looked at in one go, between which other threads have their turn."""
SHORT_BYTES = 2**12
"""Shorter pieces of a body go together: each has some bytes around it."""
JOINED_BYTES = 2**22
"""Bodies up to this size are joined before a thread would wake, or in a millisecond."""
BOM = b"\xef\xbb\xbf"
INSTEAD = "Send images and numbers as base64, tokens as a safetensors file, tensors of /v2 as bytes."


@dataclass(frozen=True, eq=False)
class Text:
    """A long text that stands in a body: bytes, in which / and line breaks may be escaped."""

    view: memoryview

    def __repr__(self) -> str:
        return f"a text of {len(self.view)} bytes"


async def read_body(request: Request) -> bytes:
    """All of a body; the request does not keep it, and nothing joins many bytes on the event loop."""
    pieces: list[bytes] = []
    async for piece in request.stream():
        if pieces and len(pieces[-1]) < SHORT_BYTES:
            pieces[-1] += piece
        else:
            pieces.append(piece)
    if sum(map(len, pieces)) > JOINED_BYTES:
        return await asyncio.to_thread(b"".join, pieces)
    return b"".join(pieces)


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object; in the place of a long text stands a `Text`. Raises `BadRequest` and `JsonTooLarge`."""
    document = _read_body(body)
    if not isinstance(document, dict):
        raise BadRequest("The JSON body: expected an object.")
    return document


def read_value(text: str) -> Any:
    """A JSON value that stands in a text. Raises `ValueError` and `JsonTooLarge`."""
    data = text.encode()
    _limit(data)
    return orjson.loads(data)


def _read_body(body: bytes) -> Any:
    texts: dict[str, Text] = {}
    start = len(BOM) if body.startswith(BOM) else 0
    pieces = [body[start:]] if len(body) <= SMALL_BYTES else _cut(body, start, texts)
    try:
        rest = b"".join(pieces)
        _limit(rest)
        document = orjson.loads(rest)
    except orjson.JSONDecodeError as error:
        if not body or "UTF-8" in error.msg or "depth" in error.msg:
            raise BadRequest(
                "The body is no valid JSON: expected UTF-8, no deep nesting, and no form or picture itself."
            ) from None
        line, column = _place(error.pos, body, start, pieces, texts)
        raise BadRequest(f"The body is no valid JSON: {error.msg} at line {line}, column {column}.") from None
    return _with_texts(document, texts) if texts else document


def _limit(data: bytes) -> None:
    """Raise `JsonTooLarge` where this is too much to be built. What stands in texts is counted as well."""
    if len(data) <= SMALL_BYTES:
        return
    for what, most, got in (
        ("bytes beside base64", MAX_BYTES, len(data)),
        ("strings", MAX_TEXTS, _count(data, b'"') // 2),
        ("lists and objects", MAX_LISTS, _count(data, b"[") + _count(data, b"{")),
        ("values", MAX_VALUES, _count(data, b",")),
    ):
        if got > most:
            raise JsonTooLarge(f"JSON may have {most} {what} here, got {got}. {INSTEAD}")


def _count(data: bytes, what: bytes) -> int:
    return sum(data.count(what, at, at + PIECE_BYTES) for at in range(0, len(data), PIECE_BYTES))


def _cut(body: bytes, start: int, texts: dict[str, Text]) -> list[bytes]:
    """The body from `start` in pieces, without its long texts: names that no client knows stand for those."""
    if (count := _count(body, b'"') // 2) > MAX_TEXTS:
        raise JsonTooLarge(f"JSON may have {MAX_TEXTS} strings here, got {count}. {INSTEAD}")
    view, secret = memoryview(body), secrets.token_hex()
    pieces, kept, escaped = list[bytes](), start, 0
    begin = body.find(b'"', start)
    while begin >= 0 and (end := _end(body, begin + 1)) >= 0:
        long = end - begin > LONG_TEXT_BYTES
        if long and not NAME_ENDS.match(body, end) and _may_be_base64(body, begin, end):
            name = f"{secret}{len(texts)}"
            texts[name] = Text(view[begin + 1 : end])
            pieces += body[kept : begin + 1], name.encode()
            kept = end
        elif long and (escaped := escaped + end - begin) > MAX_ESCAPED_BYTES:
            raise JsonTooLarge(
                f"JSON may have {MAX_ESCAPED_BYTES} bytes of texts that are no base64 here. {INSTEAD}"
            )
        begin = body.find(b'"', end + 1)
    return [*pieces, body[kept:]]


def _may_be_base64(body: bytes, begin: int, end: int) -> bool:
    """Whether this part of the body has no escapes but those of / and line breaks, and those have one."""
    escapes = NO_BASE64 if body.find(b"\\", begin, end) >= 0 else ()
    return not any(
        body.find(wrong, at, min(at + PIECE_BYTES + 1, end)) >= 0
        for at in range(begin, end, PIECE_BYTES)
        for wrong in (*NO_JSON, *escapes)
    )


def _end(body: bytes, begin: int) -> int:
    """Where the text ends that begins here: at its first quote that has no backslash of its own; or -1."""
    at = begin
    while (end := body.find(b'"', at)) > at and _backslashes(body, at, end) % 2:
        at = end + 1
    return end


def _backslashes(body: bytes, begin: int, end: int) -> int:
    """How many stand at the end of this part of the body."""
    count = 0
    while begin < end - count:
        piece = body[max(begin, end - count - PIECE_BYTES) : end - count]
        run = len(piece) - len(piece.rstrip(b"\\"))
        count += run
        if run < len(piece):
            break
    return count


def _place(at: int, body: bytes, start: int, pieces: list[bytes], texts: dict[str, Text]) -> tuple[int, int]:
    """Line and column in the body of a place in its pieces, of which the first stands at `start`."""
    lengths = {name.encode(): len(text.view) for name, text in texts.items()}
    for piece in pieces:
        if at <= len(piece):
            break
        at -= len(piece)
        start += lengths.get(piece, len(piece))
    at += start
    return body.count(b"\n", 0, at) + 1, at - body.rfind(b"\n", 0, at)


def _with_texts(document: Any, texts: dict[str, Text]) -> Any:
    """The document with its long texts in their places."""
    whole = [document]
    left: list[Any] = [whole]
    while left:
        holder = left.pop()
        for key, value in holder.items() if type(holder) is dict else enumerate(holder):
            if type(value) is str and value in texts:
                holder[key] = texts[value]
            elif type(value) in (dict, list):
                left.append(value)
    return whole[0]

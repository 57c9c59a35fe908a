"""An image in a request: its bytes, or base64 of them in any of its forms, alone or in a data URI.

Line breaks, missing padding and the URL-safe alphabet (RFC 4648, 5) mean no other bytes: all are read.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from string import ascii_letters, digits
from typing import Any
from urllib.parse import unquote

import pybase64

from service.errors import CorruptImage, RemoteImage, ServiceError
from service.http.documents import PIECE_BYTES, Text

Item = bytes | ServiceError
"""An image's bytes, or why there are none."""

STANDARD = bytes.maketrans(b"-_", b"+/")
WHITESPACE = b" \t\r\n\v\f"
KNOWN = b"%b%b+/-_=%b" % (ascii_letters.encode(), digits.encode(), WHITESPACE)
"""What base64 has, in any of its forms."""
FOREIGN = re.compile(b"[^%b]" % re.escape(KNOWN))
ESCAPED = {b"\\/": b"/", b"\\n": b"\n", b"\\r": b"\r", b"\\t": b"\t", b"\\f": b"\f"}
HEAD_CHARACTERS = 8
LONGEST_HEADER = 1024
"""Of a data URI: media types are short."""
LONGEST_QUOTED = 2**20
"""Longer data URIs may not have their + / and = as %2B, %2F and %3D."""


def decode_base64(text: str | memoryview, offset: int = 0) -> bytes:
    """The bytes of a text. Raises `ValueError`, which says where it is wrong: at which character,
    counted from 1 and from `offset` characters before the text.
    """
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:  # of an odd form, or none
        return _decode_odd(text, offset)


def _decode_odd(text: str | memoryview, offset: int) -> bytes:
    """What `decode_base64` does, for text in any form; piece by piece, as it holds Python's lock."""
    decoded, rest, count, padding = io.BytesIO(), b"", 0, -1
    for place, raw in _pieces(text):
        if raw.translate(None, KNOWN) and (wrong := FOREIGN.search(raw)):
            at = wrong.start()
            character = text[place + at] if isinstance(text, str) else raw[at:].decode(errors="replace")[0]
            raise ValueError(f"character {offset + place + at + 1} is {_named(character)}")
        found, equals, tail = raw.translate(STANDARD, WHITESPACE).partition(b"=")
        again = padding >= 0 and found
        if equals and padding < 0:
            padding = place + raw.index(b"=")
        if again or tail.strip(b"="):
            raise ValueError(f"character {offset + padding + 1} is {_named('=')}")
        count += len(found)
        rest += found
        whole = len(rest) // 4 * 4
        decoded.write(pybase64.b64decode(rest[:whole], validate=True))
        rest = rest[whole:]
    if len(rest) == 1:
        raise ValueError(f"its last character is missing: there are {count}")
    decoded.write(pybase64.b64decode(rest + b"=" * (-len(rest) % 4)))
    return decoded.getvalue()


def _pieces(text: str | memoryview) -> Iterator[tuple[int, bytes]]:
    """How many characters are before each piece of a text; and the piece, without JSON's escapes."""
    place, held = 0, b""
    for start in range(0, len(text), PIECE_BYTES):
        piece = text[start : start + PIECE_BYTES]
        if isinstance(piece, str):
            raw = piece.encode("ascii", "replace")
        else:
            raw = held + piece
            held = b"\\" if raw.endswith(b"\\") else b""
            raw = raw[: len(raw) - len(held)]
            for escaped, plain in ESCAPED.items():
                raw = raw.replace(escaped, plain)
        yield place, raw
        place += len(raw)
    yield place, held


def head_of(value: Any, length: int) -> str:
    """How a text begins, without the space before it; nothing where it is none."""
    if isinstance(value, Text):
        return value.view[:length].tobytes().decode(errors="replace").replace("\\/", "/").lstrip()
    return value[:length].lstrip() if isinstance(value, str) else ""


def from_base64(value: Any) -> Item:
    """Bytes of a base64 string or a data URI; an error in their place where there are none."""
    if not isinstance(value, str | Text):
        return CorruptImage("An image in JSON is a base64 string or a data URI: send it as one.")
    text = value if isinstance(value, str) else value.view
    head = head_of(value, LONGEST_HEADER)
    start = 0
    if head[:HEAD_CHARACTERS].lower().startswith(("http://", "https://")):
        return RemoteImage("Images are not fetched from addresses: send the image itself.")
    if head[:HEAD_CHARACTERS].lower().startswith("data:"):
        header, comma, _ = head.partition(",")
        if not comma or not header.rstrip().lower().endswith(";base64"):
            return CorruptImage("The data URI is not base64: expected data:image/…;base64,…")
        start = _after_comma(text)
        text = text[start:]
        if len(text) <= LONGEST_QUOTED:
            text = _unquoted(text)
    try:
        return decode_base64(text, start)
    except ValueError as error:
        return CorruptImage(f"This is no valid base64: {error}.")


def _after_comma(text: str | memoryview) -> int:
    begin = text[:LONGEST_HEADER]
    return 1 + (begin.index(",") if isinstance(begin, str) else begin.tobytes().index(b","))


def _unquoted(text: str | memoryview) -> str | memoryview:
    """As it is without the % that a URI may have for + / and =."""
    if isinstance(text, str):
        return unquote(text)
    if b"%" not in text.tobytes():
        return text
    return unquote(b"".join(raw for _, raw in _pieces(text)).decode(errors="replace"))


def _named(character: str) -> str:
    """A character for a message: what can be seen of it, and its number."""
    shown = f"{character} " if character.isprintable() else ""
    return f"{shown}(U+{ord(character):04X})"

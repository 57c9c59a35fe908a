"""An image in a request: its bytes, or base64 of them in any of its forms, alone or in a data URI.

Line breaks, missing padding and the URL-safe alphabet (RFC 4648, 5) mean no other bytes: all are read.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any
from urllib.parse import unquote

from service.errors import CorruptImage, RemoteImage, ServiceError

Item = bytes | ServiceError
"""An image's bytes, or why there are none."""

URL_SAFE = str.maketrans("-_", "+/")
FOREIGN = re.compile(r"[^A-Za-z0-9+/\s]")
"""What no base64 has, once it is in the standard alphabet and its padding is gone."""
HEAD_CHARACTERS = 8


def decode_base64(text: str, offset: int = 0) -> bytes:
    """The bytes of a text. Raises `ValueError`, which says where it is wrong: at which character,
    counted from 1 and from `offset` characters before the text.
    """
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # of an odd form, or none
        plain = text.translate(URL_SAFE).rstrip("= \t\r\n")
    if wrong := FOREIGN.search(plain):
        raise ValueError(f"character {offset + wrong.start() + 1} is {_named(wrong.group())}")
    digits = "".join(plain.split())
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except binascii.Error:
        raise ValueError(f"its last character is missing: there are {len(digits)}") from None


def from_base64(value: Any) -> Item:
    """Bytes of a base64 string or a data URI; an error in their place where there are none."""
    if not isinstance(value, str):
        return CorruptImage("An image in JSON is a base64 string or a data URI: send it as one.")
    start = len(value) - len(value.lstrip())
    head = value[start : start + HEAD_CHARACTERS].lower()
    if head.startswith(("http://", "https://")):
        return RemoteImage("Images are not fetched from addresses: send the image itself.")
    text = value
    if head.startswith("data:"):
        header, comma, text = value.partition(",")
        if not comma or not header.rstrip().lower().endswith(";base64"):
            return CorruptImage("The data URI is not base64: expected data:image/…;base64,…")
        start = len(header) + 1
        if "%" in text:
            text = unquote(text)  # as a URI may write + / and =
    else:
        text = value[start:]
    try:
        return decode_base64(text, start)
    except ValueError as error:
        return CorruptImage(f"This is no valid base64: {error}.")


def _named(character: str) -> str:
    """A character for a message: what can be seen of it, and its number."""
    shown = f"{character} " if character.isprintable() else ""
    return f"{shown}(U+{ord(character):04X})"

"""Pictures to send: scikit-image's sample photos, which no model was trained on, and plain colours."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture in one of Pillow's formats."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@cache
def photo(name: str, kind: str = "JPEG") -> bytes:
    """A sample photo at its own size."""
    return encoded(Image.fromarray(getattr(skimage.data, name)()).convert("RGB"), kind)


def plain(level: int, side: int = 8) -> bytes:
    """A grey square."""
    return encoded(Image.new("RGB", (side, side), (level, level, level)))


def data_uri(image: bytes) -> str:
    """Bytes as they stand in JSON."""
    return "data:image/jpeg;base64," + base64.b64encode(image).decode()


def pixels_of(data: bytes) -> NDArray[np.uint8]:
    """What is in an encoded picture."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has hardly any data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", size), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)

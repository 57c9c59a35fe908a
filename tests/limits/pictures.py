"""Large pictures that are cheap to send: plain, so that 50 megapixels take some kilobytes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import partial

from PIL import Image

from tests.service.tokens.files import chunk

SIDE = 7_000
"""49 megapixels, just below the default limit."""
ROWS = 500


def plain_png(side: int, depth: int, colour: int, samples: int) -> bytes:
    """A black PNG, written some rows at a time; `colour` is PNG's colour type."""
    row = bytes(1 + (side * samples * depth + 7) // 8)
    stream = zlib.compressobj(1)
    packed = b"".join(stream.compress(row * min(ROWS, side - top)) for top in range(0, side, ROWS))
    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(6)) if colour == 3 else b""
    body = chunk(b"IDAT", packed + stream.flush())
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + body + chunk(b"IEND", b"")


def plain(kind: str, side: int, mode: str = "RGB", **options: object) -> bytes:
    """A black picture in one of Pillow's formats."""
    buffer = io.BytesIO()
    Image.new(mode, (side, side)).save(buffer, kind, **options)
    return buffer.getvalue()


LARGE: Mapping[str, Callable[[int], bytes]] = {
    "PNG, RGBA": partial(plain_png, depth=8, colour=6, samples=4),
    "PNG, grey in 16 bits": partial(plain_png, depth=16, colour=0, samples=1),
    "PNG, RGB in 16 bits": partial(plain_png, depth=16, colour=2, samples=3),
    "PNG, palette": partial(plain_png, depth=8, colour=3, samples=1),
    "WebP, lossless": lambda side: plain("WEBP", side, lossless=True, method=0, quality=0),
    "AVIF": lambda side: plain("AVIF", side, speed=10),
    "JPEG 2000": lambda side: plain("JPEG2000", side, "L"),
    "BMP, 1 bit": lambda side: plain("BMP", side, "1"),
    "GIF": lambda side: plain("GIF", side, "P"),
    "TIFF, deflate": lambda side: plain("TIFF", side, "RGBA", compression="tiff_deflate"),
    "TIFF, grey in 16 bits": lambda side: plain("TIFF", side, "I;16", compression="tiff_deflate"),
    "TIFF, floats": lambda side: plain("TIFF", side, "F", compression="tiff_deflate"),
    "JPEG, progressive": lambda side: plain("JPEG", side, progressive=True),
    "JPEG, turned": lambda side: plain("JPEG", side, exif=turned()),
    "JPEG, CMYK": lambda side: plain("JPEG", side, "CMYK"),
}


def turned() -> Image.Exif:
    """EXIF of a picture that lies on its side."""
    exif = Image.Exif()
    exif[0x112] = 6
    return exif

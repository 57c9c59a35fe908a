"""Files as programs write them, well or badly: pieces of JPEG, PNG, TIFF and BMP."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.service.tokens.values import RAMP, SIDE, STRIPES, Values, levels


def picture(values: Values) -> Image.Image:
    return Image.fromarray(levels(values, "u1").squeeze())


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(values: Values = RAMP, **options: Any) -> bytes:
    return encoded(picture(values), "JPEG", quality=95, subsampling=0, **options)


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segment(marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment in front."""
    data = jpeg()
    return data[:2] + segment(marker, body) + data[2:]


def directory(entries: dict[int, tuple[int, int, bytes]], order: str = "<") -> bytes:
    """A TIFF of one directory: of each tag its type, its count and its bytes."""
    start = 8 + 2 + 12 * len(entries) + 4
    head, tail = struct.pack(order + "H", len(entries)), b""
    for tag, (kind, count, value) in sorted(entries.items()):
        if len(value) <= 4:
            place = value.ljust(4, b"\0")
        else:
            place = struct.pack(order + "I", start + len(tail))
            tail += value + b"\0" * (len(value) % 2)
        head += struct.pack(order + "HHI", tag, kind, count) + place
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "I", 8) + head + b"\0\0\0\0" + tail


def shorts(*values: int) -> tuple[int, int, bytes]:
    return 3, len(values), struct.pack(f"<{len(values)}H", *values)


def text(value: bytes) -> tuple[int, int, bytes]:
    return 2, len(value), value


def exif(**odd: tuple[int, int, bytes]) -> bytes:
    """A block that turns the picture, with one more tag (`t270=…`)."""
    entries = {0x112: shorts(6)} | {int(name[1:]): entry for name, entry in odd.items()}
    return b"Exif\0\0" + directory(entries)


def tiff(bits: list[int], photometric: int, data: bytes, **more: tuple[int, int, bytes]) -> bytes:
    """An uncompressed TIFF of one strip."""
    entries = {
        256: shorts(SIDE),
        257: shorts(SIDE),
        258: shorts(*bits),
        259: shorts(1),
        262: shorts(photometric),
        273: (4, 1, b"\0\0\0\0"),
        277: shorts(len(bits)),
        278: shorts(SIDE),
        279: (4, 1, struct.pack("<I", len(data))),
    } | {int(name[1:]): entry for name, entry in more.items()}
    place = struct.pack("<I", len(directory(entries)))
    return directory(entries | {273: (4, 1, place)}) + data


def written(values: NDArray[Any], **options: Any) -> bytes:
    """A TIFF of tifffile's."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def packed(values: NDArray[np.integer], bits: int) -> bytes:
    """Rows of numbers of so many bits, the highest bit first."""
    ones = values[..., None] >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(ones.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def chunk(kind: bytes, body: bytes, *, sound: bool = True) -> bytes:
    check = zlib.crc32(kind + body) ^ (not sound)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def png(
    before: bytes = b"", values: Values = RAMP, *, depth: int = 8, colour: int = 2, after: bytes = b""
) -> bytes:
    """A PNG with more chunks before and after its pixels."""
    header = struct.pack(">IIBBBBB", SIDE, SIDE, depth, colour, 0, 0, 0)
    numbers = np.rint(values * ((1 << depth) - 1)).astype(np.uint16).reshape(SIDE, -1)
    rows = packed(numbers, depth)
    size = len(rows) // SIDE
    lines = b"".join(b"\0" + rows[i * size : (i + 1) * size] for i in range(SIDE))
    chunks = chunk(b"IHDR", header), before, chunk(b"IDAT", zlib.compress(lines)), after, chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def transparent(depth: int) -> bytes:
    """Black, and a quarter of white, which is transparent."""
    quarter = (1 << depth) // 4
    values = STRIPES * quarter / ((1 << depth) - 1)
    return png(chunk(b"tRNS", struct.pack(">H", quarter)), values, depth=depth, colour=0)


def bmp_with_masks() -> bytes:
    """32 bits a pixel, 10 for each colour."""
    masks = struct.pack("<4I", 0x3FF00000, 0xFFC00, 0x3FF, 0)
    data = bytes(SIDE * SIDE * 4)
    header = struct.pack("<IiiHHIIiiII", 108, SIDE, SIDE, 1, 32, 3, len(data), 0, 0, 0, 0) + masks
    header = header.ljust(108, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(data), 0, 0, 14 + len(header)) + header + data


def colour_map(scale: int) -> tuple[int, int, bytes]:
    """256 colours: entry i is (i, 255 − i, 128) times `scale`."""
    i = np.arange(256)
    return shorts(*(np.concatenate([i, 255 - i, np.full(256, 128)]) * scale).tolist())


def signed(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def planar(values: Values, kind: str, photometric: str, **options: Any) -> bytes:
    planes = np.moveaxis(levels(values, kind), -1, 0)
    return written(planes, photometric=photometric, planarconfig="separate", **options)


def grey(values: NDArray[Any], photometric: str = "minisblack", **options: Any) -> bytes:
    return written(values.squeeze(), photometric=photometric, **options)

"""PNG files without the chunks that say nothing about their pixels."""

from __future__ import annotations

import struct
import zlib

from service.errors import CorruptImage
from service.tokens.directory import orientation_alone

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_INFLATED_BYTES = 1 << 20
"""Of a profile or text: Pillow refuses a picture that has more."""
MAX_CHUNKS = 1 << 16
"""Of a file: 512 MiB in the pieces of 8 KiB that most programs write."""
GREY, RGB, PALETTE = 0, 2, 3
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
TEXTS_WITH_EXIF = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")


def read_size(data: bytes) -> tuple[int, int, int]:
    """Width, height, and the bytes that a decoded pixel takes. Raises `CorruptImage` and `struct.error`."""
    kind, width, height, depth, colour = struct.unpack_from(">4sIIBB", data, 12)
    if kind != b"IHDR":
        raise CorruptImage("The PNG's header is damaged.")
    pixel_bytes = {GREY: 1 if depth <= 8 else 2, PALETTE: 1}.get(colour, 4)
    return width, height, pixel_bytes


def lean(data: bytes) -> bytes:
    """The file with what its pixels are made of, its colour profile, and what tells which side is up.

    Everything else is dropped unread, and so are damaged chunks that a picture can do without (PNG 3, 13.2),
    and those that it has already. A transparent grey or colour is told in the 8 bits that Pillow decodes it
    to. Raises `CorruptImage` where there are more than `MAX_CHUNKS`.
    """
    kept = [SIGNATURE]
    known: set[bytes] = set()
    depth, colour = data[24:26].ljust(2, b"\0")
    start = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if start + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + length + 12
        critical = not kind[0] & 32
        if critical:
            kept.append(data[start:end])
        elif end <= len(data):
            body = data[start + 8 : end - 4]
            name = body.partition(b"\0")[0] if kind in TEXTS else kind
            sound = name not in known and zlib.crc32(kind + body) == int.from_bytes(data[end - 4 : end])
            if sound and (useful := _useful(kind, body, depth, colour)) is not None:
                kept.append(_chunk(kind, useful))
                known.add(name)
        if kind == b"IEND":
            break
        start = end
    else:
        raise CorruptImage(f"The PNG has more than {MAX_CHUNKS} chunks: save it anew.")
    return b"".join(kept)


def _useful(kind: bytes, body: bytes, depth: int, colour: int) -> bytes | None:
    """The body of a chunk that is kept, or None."""
    match kind:
        case b"tRNS":
            return _transparency(body, depth, colour)
        case b"iCCP":
            name, _, profile = body.partition(b"\0")
            return body if name and profile[:1] == b"\0" and _inflates(profile[1:]) else None
        case b"eXIf":
            return orientation_alone(body)
        case _ if kind in TEXTS and body.startswith(TEXTS_WITH_EXIF):
            text = body.partition(b"\0")[2]
            compressed = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
            # What is before the compressed text is a byte, or two and two more strings.
            packed = text[1:] if kind == b"zTXt" else text[2:].split(b"\0", 2)[-1]
            small = _inflates(packed) if compressed else len(text) <= MAX_INFLATED_BYTES
            return body if small else None
        case _:
            return None


def _transparency(body: bytes, depth: int, colour: int) -> bytes | None:
    if colour == PALETTE:
        return body or None
    samples = {GREY: 1, RGB: 3}.get(colour, 0)
    if not samples or len(body) < 2 * samples:
        return None
    values = struct.unpack_from(f">{samples}H", body)
    if colour == GREY and depth in (2, 4):
        values = tuple(value % (1 << depth) * 255 // ((1 << depth) - 1) for value in values)
    if colour == RGB and depth == 16:
        values = tuple(value >> 8 for value in values)
    return struct.pack(f">{samples}H", *values)


def _inflates(packed: bytes) -> bool:
    """Whether it is sound and no larger than Pillow takes."""
    stream = zlib.decompressobj()
    try:
        stream.decompress(packed, MAX_INFLATED_BYTES)
    except zlib.error:
        return False
    return stream.eof


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

"""The ISO base media file format (ISO/IEC 14496-12) and its kin, made of boxes: AVIF, HEIC, JPEG 2000."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from service.errors import CorruptImage

CONTAINERS = {
    **{b"meta": 4, b"iprp": 0, b"ipco": 0, b"jp2h": 0},
    **{b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0},
}
"""Boxes that others lie in, and the bytes before the first of them."""
MAX_BOXES = 4096


def boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, beginning and end of the bodies of a file's boxes, those within `CONTAINERS` among them.

    Raises `CorruptImage` where there are more than `MAX_BOXES`.
    """
    start = 0
    for _ in range(MAX_BOXES):
        if start + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        end = min(start + size, len(data)) if size else len(data)
        if end < body:
            return
        yield kind, body, end
        start = body + CONTAINERS[kind] if kind in CONTAINERS else end
    raise CorruptImage(f"The image has more than {MAX_BOXES} boxes: save it anew.")

"""GIF files up to their first frame, without what says nothing about its pixels (GIF89a)."""

from __future__ import annotations

import struct

from service.errors import CorruptImage

MAGIC = (b"GIF87a", b"GIF89a")
EXTENSION, FRAME, GRAPHIC_CONTROL = 0x21, 0x2C, 0xF9
MAX_BLOCKS = 8192
"""Before the first frame; a profile of two megabytes has as many."""


def read_size(data: bytes) -> tuple[int, int]:
    """Width and height of the canvas, which a frame may enlarge."""
    _, start, _ = _first_frame(data)
    width, height = struct.unpack_from("<HH", data, 6)
    left, top, across, down = struct.unpack_from("<4H", data, start + 1)
    return max(width, left + across), max(height, top + down)


def lean(data: bytes) -> bytes:
    """The file without what stands before its first frame, save for how that is shown."""
    head, start, control = _first_frame(data)
    return b"".join((data[:head], control, data[start:])) if start > head else data


def _first_frame(data: bytes) -> tuple[int, int, bytes]:
    """Where the colours end, where the first frame begins, and its graphic control."""
    flags = data[10]
    head = start = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    control, began = b"", 0
    for _ in range(MAX_BLOCKS):
        if start + 1 >= len(data):
            raise CorruptImage("The GIF ends before its first frame.")
        if began:  # within an extension, whose blocks end with an empty one
            length = data[start]
            start += 1 + length
            if not length:
                control = data[began:start] if data[began + 1] == GRAPHIC_CONTROL else control
                began = 0
        elif data[start] == FRAME:
            return head, start, control
        elif data[start] == EXTENSION:
            began, start = start, start + 2
        else:
            start += 1  # as Pillow does
    raise CorruptImage(f"The GIF has more than {MAX_BLOCKS} blocks before its first frame: save it anew.")

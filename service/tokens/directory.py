"""TIFF's directories of tags (TIFF 6.0, section 2), which EXIF is made of, too."""

from __future__ import annotations

import struct
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL.ExifTags import Base

BYTES = (2, 7)
NUMBERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
"""Types of tags that are read, by their numbers."""
ORIENTATION = 0x112
FILL_ORDER = 0x10A
BYTE = 1
MOST_TAGS = 1024
MOST_NUMBERS = 3 << 16
"""Of a tag, as in a palette's of 16 bits: Pillow makes an object of each."""

Tags: TypeAlias = dict[int, int | memoryview | NDArray[Any]]


def directory(data: bytes) -> Tags:
    """The first directory's tags that hold bytes, or whole numbers: a lone one as such, several as an array.

    Nothing of `data` is copied. Raises `struct.error` where there is no directory, and for one with more
    than `MOST_TAGS`, or more than `MOST_NUMBERS` in a tag.
    """
    order, big = "<" if data[:2] == b"II" else ">", 43 in data[2:4]
    entry, offset, count_type = ("HHQ8s", "Q", "Q") if big else ("HHI4s", "I", "H")
    (start,) = struct.unpack_from(order + offset, data, 8 if big else 4)
    (count,) = struct.unpack_from(order + count_type, data, start)
    start += struct.calcsize(order + count_type)
    size = struct.calcsize(order + entry)
    count = min(count, (len(data) - start) // size)
    if count > MOST_TAGS:
        raise struct.error(f"expected at most {MOST_TAGS} tags, got {count}")
    tags: Tags = {}
    for tag, kind, length, value in struct.iter_unpack(order + entry, data[start : start + count * size]):
        if length > MOST_NUMBERS and kind not in (BYTE, *BYTES):
            raise struct.error(f"expected at most {MOST_NUMBERS} numbers in a tag, got {length}")
        number = np.dtype(order + NUMBERS.get(kind, "u1"))
        held = memoryview(value)
        if length * number.itemsize > len(held):
            (place,) = struct.unpack(order + offset, value)
            held = memoryview(data)[place : place + length * number.itemsize]
        held = held[: length * number.itemsize]
        if tag in tags or not length or len(held) < length * number.itemsize:
            continue
        if kind in BYTES:
            tags[tag] = held
        elif kind in NUMBERS:
            numbers = np.frombuffer(held, number)
            tags[tag] = int(numbers[0]) if length == 1 else numbers
    return tags


def number_in(tags: Tags, tag: int, default: int | None = None) -> int:
    """A tag's number, the first of several. Raises `ValueError` where there is none."""
    return int(numbers_in(tags, tag, default)[0])


def numbers_in(tags: Tags, tag: int, default: int | None = None) -> NDArray[np.unsignedinteger]:
    """A tag's numbers, at least one. Raises `ValueError` where there are none."""
    value = tags.get(tag, default)
    if value is None or isinstance(value, memoryview):
        raise ValueError(f"expected numbers in tag {tag}")
    return np.atleast_1d(value)


def orientation_alone(exif: bytes) -> bytes | None:
    """A block of EXIF that says nothing but which side is up; None where the block does not, or is junk.

    Cameras and programs write much that is against the rules, and readers stumble over it.
    """
    try:
        value = directory(exif).get(ORIENTATION)
    except struct.error:
        return None
    if not isinstance(value, int) or value not in range(1, 9):
        return None
    return struct.pack("<2sHIHHHIIxxxx", b"II", 42, 8, 1, ORIENTATION, 3, 1, value)


def grey_file(packed: memoryview, columns: int, rows: int, compression: int, fill_order: int) -> bytes:
    """A TIFF of one strip, a byte a pixel, that is packed so."""
    entries = {
        Base.ImageWidth: columns,
        Base.ImageLength: rows,
        Base.BitsPerSample: 8,
        Base.Compression: compression,
        Base.PhotometricInterpretation: 1,  # black is zero
        FILL_ORDER: fill_order,
        Base.StripOffsets: 8,
        Base.SamplesPerPixel: 1,
        Base.RowsPerStrip: rows,
        Base.StripByteCounts: len(packed),
    }
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    padding = b"\0" * (len(packed) % 2)
    header = struct.pack("<2sHI", b"II", 42, 8 + len(packed) + len(padding))
    return b"".join((header, packed, padding, directory, b"\0\0\0\0"))

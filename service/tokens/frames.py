"""The frames within AVIF and HEIC: how large the codecs' own headers let them be.

Decoders go by these. The file tells sizes as well, which need not be the same.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from service.errors import CorruptImage
from service.tokens.isobmff import boxes

MAX_UNITS = 1 << 15
"""Parts of a file's codestreams: those of a track are looked at from its first picture on."""
SEQUENCE_HEADER, SEQUENCE_PARAMETERS = 1, 33
"""Types of AV1's and HEVC's units that tell the size."""
HEVC_CONFIGURATION_BYTES = 22


def frame_pixels(data: bytes) -> int:
    """Pixels of the largest frame that the codestreams of a file announce; 0 where none does.

    Raises `CorruptImage` for more than `MAX_UNITS` units, and `IndexError` or `struct.error` where bytes are
    missing.
    """
    most = units = 0
    for kind, start, end in boxes(data):
        if kind == b"hvcC":
            most = max(most, *map(_hevc_pixels, _parameter_sets(data, start + HEVC_CONFIGURATION_BYTES)), 0)
        for stream in _streams(data, kind, start, end):
            for unit in _sequence_headers(stream):
                units += 1
                if units > MAX_UNITS:
                    raise CorruptImage(f"The image has more than {MAX_UNITS} parts: save it anew.")
                if unit is not None:
                    most = max(most, _av1_pixels(unit))
    return most


def _streams(data: bytes, kind: bytes, start: int, end: int) -> Iterator[memoryview]:
    """What a box's list leads to: items of a file, or a track from its first chunk on."""
    view = memoryview(data)
    if kind == b"iloc":
        yield from _items(view, start, end)
    elif kind in (b"stco", b"co64"):
        (first,) = struct.unpack_from(">I" if kind == b"stco" else ">Q", data, start + 8)
        yield view[first:]


def _items(view: memoryview, start: int, end: int) -> Iterator[memoryview]:
    """Items by their places in the file (8.11.3)."""
    version = view[start]
    sizes = struct.unpack_from(">H", view, start + 4)[0]
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    place = start + 6

    def number(size: int) -> int:
        nonlocal place
        place += size
        if place > end:
            raise IndexError
        return int.from_bytes(view[place - size : place])

    wide = 4 if version == 2 else 2
    for _ in range(number(wide)):
        number(wide)
        if version:
            number(2)
        number(2)
        base, parts = number(base_size), []
        for _ in range(number(2)):
            if version:
                number(index_size)
            first, length = base + number(offset_size), number(length_size)
            parts.append(view[first : first + length if length else None])
        yield parts[0] if len(parts) == 1 else memoryview(b"".join(parts))


def _sequence_headers(stream: memoryview) -> Iterator[memoryview | None]:
    """AV1's units (5.3 of its specification): the bodies of sequence headers, None for each other one.

    It ends where something else begins.
    """
    place = 0
    while place < len(stream):
        head = stream[place]
        if head & 0x81 or not head & 2:  # no unit, or one without a size, which nothing follows
            if head & 0x83 == 0 and head >> 3 == SEQUENCE_HEADER:
                yield stream[place + 1 + (head >> 2 & 1) :]
            return
        place += 1 + (head >> 2 & 1)
        size = 0
        for shift in range(0, 56, 7):
            size |= (stream[place] & 127) << shift
            place += 1
            if stream[place - 1] < 128:
                break
        yield stream[place : place + size] if head >> 3 == SEQUENCE_HEADER else None
        place += size


def _av1_pixels(header: memoryview) -> int:
    """Of the largest frame that a sequence header allows (5.5)."""
    bits = _Bits(bytes(header[:1024]))
    bits.take(4)  # profile, still picture
    if bits.take(1):  # reduced header
        bits.take(5)
    else:
        delay_bits = 0
        if bits.take(1):  # timing
            bits.take(64)
            if bits.take(1):
                bits.golomb()
            if bits.take(1):  # decoder model
                delay_bits = bits.take(5) + 1
                bits.take(42)
        shown_late = bits.take(1)
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if delay_bits and bits.take(1):
                bits.take(2 * delay_bits + 1)
            if shown_late and bits.take(1):
                bits.take(4)
    sizes = bits.take(4) + 1, bits.take(4) + 1
    width, height = (bits.take(size) + 1 for size in sizes)
    return width * height


def _parameter_sets(data: bytes, place: int) -> Iterator[bytes]:
    """Sequence parameter sets of a decoder's configuration (ISO/IEC 14496-15, 8.3.3.1)."""
    arrays, place = data[place], place + 1
    for _ in range(arrays):
        kind, count = data[place] & 63, *struct.unpack_from(">H", data, place + 1)
        place += 3
        for _ in range(count):
            (length,) = struct.unpack_from(">H", data, place)
            if kind == SEQUENCE_PARAMETERS:
                yield data[place + 2 : place + 2 + length]
            place += 2 + length


def _hevc_pixels(unit: bytes) -> int:
    """Of a frame, by its sequence parameter set (ITU-T H.265, 7.3.2.2)."""
    bits = _Bits(unit[2:1024].replace(b"\0\0\3", b"\0\0"))
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 96)  # profile, tier, level
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    bits.take(2 * (8 - layers) if layers else 0)
    for profile, level in present:
        bits.take(88 * profile + 8 * level)
    bits.golomb()
    if bits.golomb() == 3:  # chroma as fine as brightness
        bits.take(1)
    width, height = bits.golomb(), bits.golomb()
    return width * height


class _Bits:
    """Numbers of so many bits, the highest first."""

    def __init__(self, data: bytes) -> None:
        self._all = int.from_bytes(data)
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """The next number. Raises `IndexError` where bits are missing."""
        self._left -= count
        if self._left < 0:
            raise IndexError
        return self._all >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        """The next number of Exp-Golomb's code: as many bits, less one, as zeros before it."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

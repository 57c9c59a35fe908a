"""A TIFF's samples: the numbers of its pixels, as they lie in strips or tiles.

These are decompressed by libtiff, which sees each as a grey picture of one byte a pixel; which numbers its
bytes are is told here, by bits, predictor and sample format (TIFF 6.0, sections 8, 14 and 19).

C samples of a pixel
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base

from service.errors import CorruptImage, TooManyPixels
from service.tokens.colour import BAND
from service.tokens.directory import FILL_ORDER, Tags, grey_file, number_in, numbers_in

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
KINDS = {UNSIGNED: "u", SIGNED: "i", FLOAT: "f"}
BITS = {UNSIGNED: (1, 2, 4, 8, 10, 12, 14, 16, 32, 64), SIGNED: (8, 16, 32, 64), FLOAT: (16, 32, 64)}
COMPRESSIONS = {
    1: "none",
    5: "LZW",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    34925: "LZMA",
    50000: "Zstandard",
}
NO_PREDICTOR, DIFFERENCES, FLOAT_DIFFERENCES = 1, 2, 3
PLANAR_CONFIGURATION, PREDICTOR, SAMPLE_FORMAT = 284, 317, 339
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
MOST_SAMPLES = 16
"""Of a pixel: what has more is no picture for eyes."""
MAX_PLACES = 1 << 16
"""Strips or tiles of a picture."""
PLACE_BYTES = 4096
"""What Pillow and libtiff note of each."""


class Place(NamedTuple):
    """A strip, or a tile: where it begins in the picture, its size, and its bytes in the file."""

    plane: int
    top: int
    left: int
    rows: int
    columns: int
    start: int
    length: int


class Samples:
    """Those of a file's first picture.

    Raises `CorruptImage`, `TooManyPixels` for tiles far beyond the picture, and `ValueError` for bad tags.
    """

    def __init__(self, data: bytes, tags: Tags) -> None:
        self._data = data
        self._tags = tags
        self.size = number_in(tags, Base.ImageWidth), number_in(tags, Base.ImageLength)
        self.of_pixel = number_in(tags, Base.SamplesPerPixel, 1)
        self.compression = number_in(tags, Base.Compression, 1)
        self._predictor = number_in(tags, PREDICTOR, NO_PREDICTOR)
        self._fill_order = number_in(tags, FILL_ORDER, 1)
        self.planes = self.of_pixel if number_in(tags, PLANAR_CONFIGURATION, 1) == 2 else 1
        self.all_bits: set[int] = set(numbers_in(tags, Base.BitsPerSample, 1)[:MOST_SAMPLES].tolist())
        self.formats: set[int] = set(numbers_in(tags, SAMPLE_FORMAT, UNSIGNED)[:MOST_SAMPLES].tolist())
        self.bits = max(self.all_bits)
        # "Undefined" (4) is what some write for numbers without a sign.
        self.format = UNSIGNED if self.formats == {4} else min(self.formats)
        if min(*self.size, self.of_pixel) < 1:
            raise ValueError("expected a picture of some size")
        self._tiled = TILE_OFFSETS in tags
        if self._tiled:
            self._rows, self._columns = number_in(tags, TILE_LENGTH), number_in(tags, TILE_WIDTH)
        else:
            self._rows = min(number_in(tags, Base.RowsPerStrip, self.size[1]), self.size[1])
            self._columns = self.size[0]
        if min(self._rows, self._columns) < 1:
            raise ValueError("expected strips or tiles of some size")
        if self._rows * self._columns > 2 * max(self.size[0], 1024) * max(self.size[1], 1024):
            raise TooManyPixels("The TIFF's tiles are much larger than its picture.")
        self._count = self.planes * -(-self.size[1] // self._rows) * -(-self.size[0] // self._columns)
        offsets = tags.get(TILE_OFFSETS if self._tiled else Base.StripOffsets, 0)
        if max(self._count, np.size(offsets)) > MAX_PLACES:
            raise CorruptImage(f"The TIFF has more than {MAX_PLACES} strips or tiles: save it anew.")

    @property
    def unpacking_bytes(self) -> int:
        """The most that unpacking takes: a strip or tile, once more meanwhile, and what is noted of each."""
        place = self._rows * self._columns * max(4, -(-self.of_pixel // self.planes * self.bits // 8))
        packed = 0 if self._as_they_are else 2 * place
        return packed + self._count * PLACE_BYTES

    @property
    def _as_they_are(self) -> bool:
        """Whether their bytes stand in the file."""
        return self.compression == 1 and self._fill_order == 1

    @property
    def sound(self) -> bool:
        """Whether `values` reads such."""
        return (
            self.of_pixel <= MOST_SAMPLES
            and self.compression in COMPRESSIONS
            and len(self.all_bits) == len(self.formats) == 1
            and self.bits in BITS.get(self.format, ())
            and (self._predictor == NO_PREDICTOR or self.bits % 8 == 0)
            and (self._predictor != FLOAT_DIFFERENCES or self.format == FLOAT)
        )

    @property
    def kind(self) -> str:
        """In a person's words."""
        kinds = {UNSIGNED: "", SIGNED: " signed", FLOAT: " floating-point"}.get(self.format, " unusual")
        bits = " and ".join(str(bits) for bits in sorted(self.all_bits))
        compression = COMPRESSIONS.get(self.compression, str(self.compression))
        return f"{self.of_pixel} ×{kinds} {bits} bits, compression {compression}"

    @property
    def type(self) -> np.dtype[np.generic]:
        """Of the numbers, in the file's order of bytes; fewer bits than it has stand in the lowest."""
        size = 1 if self.bits <= 8 else 2 if self.bits <= 16 else self.bits // 8
        return np.dtype(f"{'<' if self._data[:2] == b'II' else '>'}{KINDS[self.format]}{size}")

    def values(self) -> Iterator[tuple[Place, NDArray[np.generic]]]:
        """All numbers, (rows, columns, C) at a time with their places; C is 1 where planes lie apart."""
        samples = 1 if self.planes > 1 else self.of_pixel
        for place in self._places():
            row_bytes = -(-place.columns * samples * self.bits // 8)
            top = place.top
            for lines in self._lines(place, row_bytes, max(1, BAND // (place.columns * samples))):
                yield place._replace(top=top), self._unpacked(lines, place.columns, samples)
                top += len(lines)

    def _places(self) -> Iterator[Place]:
        if self._tiled:
            starts, lengths = numbers_in(self._tags, TILE_OFFSETS), numbers_in(self._tags, TILE_BYTES)
        else:
            starts = numbers_in(self._tags, Base.StripOffsets)
            lengths = numbers_in(self._tags, Base.StripByteCounts, len(self._data))
        if not len(starts) == len(lengths) == self._count:
            raise CorruptImage("The TIFF's directory is damaged.")
        across = -(-self.size[0] // self._columns)
        for i, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            plane, place = divmod(i, self._count // self.planes)
            y, x = divmod(place, across)
            top, left = y * self._rows, x * self._columns
            yield Place(plane, top, left, self._rows, self._columns, int(start), int(length))

    def _lines(self, place: Place, row_bytes: int, step: int) -> Iterator[NDArray[np.uint8]]:
        """The bytes of a strip or tile, some rows at a time, those beyond the picture left out."""
        packed = memoryview(self._data)[place.start : place.start + place.length]
        rows = min(place.rows, self.size[1] - place.top)
        if self._as_they_are:
            if len(packed) < rows * row_bytes:
                raise CorruptImage
            lines = np.frombuffer(packed, np.uint8, rows * row_bytes).reshape(rows, row_bytes)
            yield from (lines[top : top + step] for top in range(0, rows, step))
            return
        stored = place.rows if self._tiled else rows
        file = grey_file(packed, row_bytes, stored, self.compression, self._fill_order)
        with Image.open(io.BytesIO(file), formats=("TIFF",)) as image:
            for top in range(0, rows, step):
                yield np.asarray(image.crop((0, top, row_bytes, min(top + step, rows))))

    def _unpacked(self, lines: NDArray[np.uint8], columns: int, samples: int) -> NDArray[np.generic]:
        """(rows, columns, C) of rows of bytes, in the machine's own order."""
        shape = (len(lines), columns, samples)
        if self.bits % 8:
            bits = np.unpackbits(lines, axis=1)[:, : columns * samples * self.bits]
            weights = 1 << np.arange(self.bits - 1, -1, -1, dtype=np.uint16)
            packed: NDArray[np.uint16] = bits.reshape(*shape, self.bits) @ weights
            return packed
        if self._predictor == FLOAT_DIFFERENCES:
            size = self.bits // 8
            planes = lines.reshape(len(lines), -1, samples).cumsum(axis=1, dtype=np.uint8)
            planes = planes.reshape(len(lines), size, columns * samples).swapaxes(1, 2)
            return np.ascontiguousarray(planes).view(self.type.newbyteorder(">")).reshape(shape)
        values = np.ascontiguousarray(lines).view(self.type).reshape(shape)
        if self._predictor == DIFFERENCES:
            whole = values.view(f"{values.dtype.byteorder}u{values.dtype.itemsize}")
            kind = whole.dtype.newbyteorder("=")
            values = whole.cumsum(axis=1, dtype=kind).view(values.dtype.newbyteorder("="))
        return values.astype(values.dtype.newbyteorder("="), copy=False)

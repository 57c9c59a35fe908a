"""TIFF files of the kinds that Pillow refuses or reads as another picture.

Strips and tiles are decompressed by libtiff, which sees each as a grey picture of one byte a pixel; what the
bytes mean is told here, by photometric interpretation and sample format (TIFF 6.0, sections 8 and 19).

H, W size of the picture · C samples of a pixel
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base

from service.errors import CorruptImage, TooManyPixels, UnsupportedImage
from service.tokens.colour import BAND, extremes, to_bytes, wide_range
from service.tokens.directory import FILL_ORDER, directory, grey_file
from service.tokens.raster import Raster
from service.tokens.types import Pixels

MAGIC = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")
"""Of either byte order, some of which are written in the other; 43 is BigTIFF's."""
BIG_ENDIAN_BIGTIFF = b"MM\0+"
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK = 0, 1, 2, 3, 5
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4}
"""Samples of a pixel without extra ones, by photometric interpretation."""
PHOTOMETRICS = {
    WHITE_IS_ZERO: "white-is-zero",
    BLACK_IS_ZERO: "grey",
    RGB: "RGB",
    PALETTE: "palette",
    CMYK: "CMYK",
    6: "YCbCr",
    8: "Lab",
    32803: "camera raw",
    34892: "linear raw",
}
COMPRESSIONS = {
    1: "none",
    5: "LZW",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    34925: "LZMA",
    50000: "Zstandard",
}
PREMULTIPLIED, ALPHA = 1, 2
MOST_SAMPLES = 16
"""Of a pixel: what has more is no picture for eyes."""
KINDS = {UNSIGNED: "u", SIGNED: "i", FLOAT: "f"}
NO_PREDICTOR, DIFFERENCES, FLOAT_DIFFERENCES = 1, 2, 3
PLANAR_CONFIGURATION, PREDICTOR, EXTRA_SAMPLES, PROFILE = 284, 317, 338, 34675
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
SAMPLE_FORMAT = 339
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


class Tiff:
    """The first picture of a file.

    Raises `CorruptImage`, `TooManyPixels` for tiles far beyond it, and `UnsupportedImage` where neither
    Pillow nor this module reads such a kind.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        try:
            self._tags = directory(data)
            self.size = self._number(Base.ImageWidth), self._number(Base.ImageLength)
            self._read_kind()
        except (KeyError, TypeError, ValueError, struct.error):
            raise CorruptImage("The TIFF's directory is damaged.") from None

    def _read_kind(self) -> None:
        self._samples = self._number(Base.SamplesPerPixel, 1)
        self._photometric = self._number(Base.PhotometricInterpretation, BLACK_IS_ZERO)
        self._compression = self._number(Base.Compression, 1)
        self._predictor = self._number(PREDICTOR, NO_PREDICTOR)
        self._fill_order = self._number(FILL_ORDER, 1)
        self._planes = self._samples if self._number(PLANAR_CONFIGURATION, 1) == 2 else 1
        self._extra = int(self._numbers(EXTRA_SAMPLES, 0)[0])
        self._all_bits: set[int] = set(self._numbers(Base.BitsPerSample, 1)[:MOST_SAMPLES].tolist())
        self._formats: set[int] = set(self._numbers(SAMPLE_FORMAT, UNSIGNED)[:MOST_SAMPLES].tolist())
        self._bits = max(self._all_bits)
        self._tiled = TILE_OFFSETS in self._tags
        # "Undefined" (4) is what some write for numbers without a sign.
        self._format = UNSIGNED if self._formats == {4} else min(self._formats)
        if min(*self.size, self._samples) < 1:
            raise ValueError("expected a picture of some size")
        if self._tiled:
            self._rows, self._columns = self._number(TILE_LENGTH), self._number(TILE_WIDTH)
        else:
            self._rows = min(self._number(Base.RowsPerStrip, self.size[1]), self.size[1])
            self._columns = self.size[0]
        if min(self._rows, self._columns) < 1:
            raise ValueError("expected strips or tiles of some size")
        if self._rows * self._columns > 2 * max(self.size[0], 1024) * max(self.size[1], 1024):
            raise TooManyPixels("The TIFF's tiles are much larger than its picture.")
        self._count = self._planes * -(-self.size[1] // self._rows) * -(-self.size[0] // self._columns)
        offsets = self._tags.get(TILE_OFFSETS if self._tiled else Base.StripOffsets, 0)
        if max(self._count, np.size(offsets)) > MAX_PLACES:
            raise CorruptImage(f"The TIFF has more than {MAX_PLACES} strips or tiles: save it anew.")

    def _number(self, tag: int, default: int | None = None) -> int:
        return int(self._numbers(tag, default)[0])

    def _numbers(self, tag: int, default: int | None = None) -> NDArray[np.unsignedinteger]:
        """A tag's numbers, at least one. Raises `ValueError` where there are none."""
        value = self._tags.get(tag, default)
        if value is None or isinstance(value, memoryview):
            raise ValueError(f"expected numbers in tag {tag}")
        return np.atleast_1d(value)

    @property
    def orientation(self) -> int:
        """EXIF's, 1 where it is none of its values."""
        value = self._tags.get(Base.Orientation)
        return value if isinstance(value, int) and value in range(1, 9) else 1

    @property
    def decoded_bytes(self) -> int:
        """The most that decoding takes: the pixels, and a strip or tile, once more while it is unpacked."""
        width, height = self.size
        whole = 1 if self._samples == 1 and self._photometric != PALETTE and self._bits <= 8 else 4
        place = self._rows * self._columns * max(4, -(-self._samples // self._planes * self._bits // 8))
        packed = 0 if self._compression == 1 and self._fill_order == 1 else 2 * place
        return width * height * whole + packed + self._count * PLACE_BYTES + len(self._data)

    @property
    def plain(self) -> bool:
        """Whether Pillow, where it reads it at all, reads it right."""
        if self._formats != {UNSIGNED} or len(self._all_bits) > 1:
            return False
        if self._data.startswith(BIG_ENDIAN_BIGTIFF):
            return False  # whose header it takes for a small one's
        # It has no raw modes for planes with alpha.
        if self._planes > 1 and self._photometric in COLOURS and self._compression in COMPRESSIONS:
            return False
        if self._photometric == PALETTE:
            return self._bits <= 8 and int(self._numbers(Base.ColorMap, 0).max()) > 255
        if self._bits == 16:
            return self._photometric == RGB
        return self._bits <= 8

    @property
    def kind(self) -> str:
        """In a person's words."""
        numbers = {UNSIGNED: "", SIGNED: " signed", FLOAT: " floating-point"}.get(self._format, " unusual")
        bits = " and ".join(str(bits) for bits in sorted(self._all_bits))
        photometric = PHOTOMETRICS.get(self._photometric, f"photometric interpretation {self._photometric}")
        compression = COMPRESSIONS.get(self._compression, str(self._compression))
        return f"{photometric}, {self._samples} ×{numbers} {bits} bits, compression {compression}"

    def read(self) -> Raster:
        """The picture in mode L, RGB, CMYK, or L and RGB with alpha, 8 bits, as it is stored."""
        pixels, mode = self._read()
        profile = self._tags.get(PROFILE)
        info = {"icc_profile": bytes(profile)} if isinstance(profile, memoryview) else {}
        return Raster(pixels, mode, info)

    def _read(self) -> tuple[Pixels, str]:
        self._check()
        colours = COLOURS[self._photometric]
        alpha = self._extra in (PREMULTIPLIED, ALPHA)
        shown = colours + (alpha and self._samples > colours and self._photometric != CMYK)
        low, high = self._range()
        lookup = self._palette() if self._photometric == PALETTE else None
        out = np.zeros((self.size[1], self.size[0], 3 if lookup is not None else shown), np.uint8)
        for place, values in self._values():
            seen = values[:, : out.shape[1] - place.left]
            part = out[place.top : place.top + len(seen), place.left : place.left + seen.shape[1]]
            if lookup is not None:
                if place.plane == 0:
                    part[:] = lookup[np.minimum(seen[..., 0], len(lookup) - 1)]
            elif self._planes > 1:
                if place.plane < shown:
                    part[..., place.plane] = to_bytes(seen[..., 0], low, high)
            else:
                part[:] = to_bytes(seen[..., :shown], low, high)
        if self._photometric == WHITE_IS_ZERO:
            np.subtract(255, out[..., :1], out=out[..., :1])
        if lookup is not None or self._photometric == CMYK:
            return out, "CMYK" if lookup is None else "RGB"
        names = ("L", "La", "RGB", "RGBa") if self._extra == PREMULTIPLIED else ("L", "LA", "RGB", "RGBA")
        return out, names[shown - 1]

    def _check(self) -> None:
        bits = {UNSIGNED: (1, 2, 4, 8, 10, 12, 14, 16, 32, 64), SIGNED: (8, 16, 32, 64), FLOAT: (16, 32, 64)}
        sound = (
            self._photometric in COLOURS
            and COLOURS[self._photometric] <= self._samples <= MOST_SAMPLES
            and self._compression in COMPRESSIONS
            and len(self._all_bits) == len(self._formats) == 1
            and self._bits in bits.get(self._format, ())
            and (self._photometric != PALETTE or (self._format == UNSIGNED and self._bits <= 16))
            and (self._predictor == NO_PREDICTOR or self._bits % 8 == 0)
            and (self._predictor != FLOAT_DIFFERENCES or self._format == FLOAT)
        )
        if not sound:
            raise UnsupportedImage(f"This kind of TIFF ({self.kind}) is not read: save it as PNG.")

    def _range(self) -> tuple[float, float]:
        """Which numbers are black and white, or the other way round."""
        if self._format != FLOAT and self._bits < 32:
            half = 1 << (self._bits - 1)
            return (-half, half - 1) if self._format == SIGNED else (0, 2 * half - 1)
        found = [extremes(values) for _, values in self._values()]
        least, most = zip(*found, strict=True)
        return wide_range(self._type.newbyteorder("="), min(least), max(most))

    def _palette(self) -> NDArray[np.uint8]:
        """(2^bits, 3); some write the map in 8 bits."""
        levels = self._numbers(Base.ColorMap).reshape(3, -1).T
        return (levels if levels.max() <= 255 else levels // 256).astype(np.uint8)

    @property
    def _type(self) -> np.dtype[np.generic]:
        size = 1 if self._bits <= 8 else 2 if self._bits <= 16 else self._bits // 8
        return np.dtype(f"{'<' if self._data[:2] == b'II' else '>'}{KINDS[self._format]}{size}")

    def _values(self) -> Iterator[tuple[Place, NDArray[np.generic]]]:
        """All numbers, (rows, columns, C) at a time with their places; C is 1 where planes lie apart."""
        samples = 1 if self._planes > 1 else self._samples
        for place in self._places():
            row_bytes = -(-place.columns * samples * self._bits // 8)
            top = place.top
            for lines in self._lines(place, row_bytes, max(1, BAND // (place.columns * samples))):
                yield place._replace(top=top), self._unpacked(lines, place.columns, samples)
                top += len(lines)

    def _places(self) -> Iterator[Place]:
        if self._tiled:
            starts, lengths = self._numbers(TILE_OFFSETS), self._numbers(TILE_BYTES)
        else:
            starts = self._numbers(Base.StripOffsets)
            lengths = self._numbers(Base.StripByteCounts, len(self._data))
        if not len(starts) == len(lengths) == self._count:
            raise CorruptImage("The TIFF's directory is damaged.")
        across = -(-self.size[0] // self._columns)
        for i, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            plane, place = divmod(i, self._count // self._planes)
            y, x = divmod(place, across)
            top, left = y * self._rows, x * self._columns
            yield Place(plane, top, left, self._rows, self._columns, int(start), int(length))

    def _lines(self, place: Place, row_bytes: int, step: int) -> Iterator[NDArray[np.uint8]]:
        """The bytes of a strip or tile, some rows at a time, those beyond the picture left out."""
        packed = memoryview(self._data)[place.start : place.start + place.length]
        rows = min(place.rows, self.size[1] - place.top)
        if self._compression == 1 and self._fill_order == 1:
            if len(packed) < rows * row_bytes:
                raise CorruptImage
            lines = np.frombuffer(packed, np.uint8, rows * row_bytes).reshape(rows, row_bytes)
            yield from (lines[top : top + step] for top in range(0, rows, step))
            return
        stored = place.rows if self._tiled else rows
        file = grey_file(packed, row_bytes, stored, self._compression, self._fill_order)
        with Image.open(io.BytesIO(file), formats=("TIFF",)) as image:
            for top in range(0, rows, step):
                yield np.asarray(image.crop((0, top, row_bytes, min(top + step, rows))))

    def _unpacked(self, lines: NDArray[np.uint8], columns: int, samples: int) -> NDArray[np.generic]:
        """(rows, columns, C) of rows of bytes, in the machine's own order."""
        shape = (len(lines), columns, samples)
        if self._bits % 8:
            bits = np.unpackbits(lines, axis=1)[:, : columns * samples * self._bits]
            weights = 1 << np.arange(self._bits - 1, -1, -1, dtype=np.uint16)
            packed: NDArray[np.uint16] = bits.reshape(*shape, self._bits) @ weights
            return packed
        if self._predictor == FLOAT_DIFFERENCES:
            size = self._bits // 8
            planes = lines.reshape(len(lines), -1, samples).cumsum(axis=1, dtype=np.uint8)
            planes = planes.reshape(len(lines), size, columns * samples).swapaxes(1, 2)
            return np.ascontiguousarray(planes).view(self._type.newbyteorder(">")).reshape(shape)
        values = np.ascontiguousarray(lines).view(self._type).reshape(shape)
        if self._predictor == DIFFERENCES:
            whole = values.view(f"{values.dtype.byteorder}u{values.dtype.itemsize}")
            kind = whole.dtype.newbyteorder("=")
            values = whole.cumsum(axis=1, dtype=kind).view(values.dtype.newbyteorder("="))
        return values.astype(values.dtype.newbyteorder("="), copy=False)

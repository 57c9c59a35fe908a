"""TIFF files of the kinds that Pillow refuses or reads as another picture.

What their samples mean is told here, by photometric interpretation (TIFF 6.0, section 8).

H, W size of the picture
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray
from PIL.ExifTags import Base

from service.errors import CorruptImage, UnsupportedImage
from service.tokens.colour import extremes, to_bytes, wide_range
from service.tokens.directory import directory, number_in, numbers_in
from service.tokens.raster import Raster
from service.tokens.samples import COMPRESSIONS, FLOAT, SIGNED, UNSIGNED, Samples
from service.tokens.types import Pixels

MAGIC = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")
"""Of either byte order, some of which are written in the other; 43 is BigTIFF's."""
BIG_ENDIAN_BIGTIFF = b"MM\0+"
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
PREMULTIPLIED, ALPHA = 1, 2
EXTRA_SAMPLES, PROFILE = 338, 34675


class Tiff:
    """The first picture of a file.

    Raises `CorruptImage`, `TooManyPixels` for tiles far beyond it, and `UnsupportedImage` where neither
    Pillow nor this module reads such a kind.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        try:
            self._tags = directory(data)
            self._photometric = number_in(self._tags, Base.PhotometricInterpretation, BLACK_IS_ZERO)
            self._extra = number_in(self._tags, EXTRA_SAMPLES, 0)
            self._samples = Samples(data, self._tags)
        except (KeyError, TypeError, ValueError, struct.error):
            raise CorruptImage("The TIFF's directory is damaged.") from None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self._samples.size

    @property
    def orientation(self) -> int:
        """EXIF's, 1 where it is none of its values."""
        value = self._tags.get(Base.Orientation)
        return value if isinstance(value, int) and value in range(1, 9) else 1

    @property
    def decoded_bytes(self) -> int:
        """The most that decoding takes: the pixels, and a strip or tile, once more while it is unpacked."""
        width, height = self.size
        samples = self._samples
        whole = 1 if samples.of_pixel == 1 and self._photometric != PALETTE and samples.bits <= 8 else 4
        return width * height * whole + samples.unpacking_bytes + len(self._data)

    @property
    def plain(self) -> bool:
        """Whether Pillow, where it reads it at all, reads it right."""
        samples = self._samples
        if samples.formats != {UNSIGNED} or len(samples.all_bits) > 1:
            return False
        if self._data.startswith(BIG_ENDIAN_BIGTIFF):
            return False  # whose header it takes for a small one's
        # It has no raw modes for planes with alpha.
        if samples.planes > 1 and self._photometric in COLOURS and samples.compression in COMPRESSIONS:
            return False
        if self._photometric == PALETTE:
            return samples.bits <= 8 and int(numbers_in(self._tags, Base.ColorMap, 0).max()) > 255
        if samples.bits == 16:
            return self._photometric == RGB
        return samples.bits <= 8

    @property
    def kind(self) -> str:
        """In a person's words."""
        photometric = PHOTOMETRICS.get(self._photometric, f"photometric interpretation {self._photometric}")
        return f"{photometric}, {self._samples.kind}"

    def read(self) -> Raster:
        """The picture in mode L, RGB, CMYK, or L and RGB with alpha, 8 bits, as it is stored."""
        pixels, mode = self._read()
        profile = self._tags.get(PROFILE)
        info = {"icc_profile": bytes(profile)} if isinstance(profile, memoryview) else {}
        return Raster(pixels, mode, info)

    def _read(self) -> tuple[Pixels, str]:
        self._check()
        samples = self._samples
        colours = COLOURS[self._photometric]
        alpha = self._extra in (PREMULTIPLIED, ALPHA)
        shown = colours + (alpha and samples.of_pixel > colours and self._photometric != CMYK)
        low, high = self._range()
        lookup = self._palette() if self._photometric == PALETTE else None
        out = np.zeros((self.size[1], self.size[0], 3 if lookup is not None else shown), np.uint8)
        for place, values in samples.values():
            seen = values[:, : out.shape[1] - place.left]
            part = out[place.top : place.top + len(seen), place.left : place.left + seen.shape[1]]
            if lookup is not None:
                if place.plane == 0:
                    part[:] = lookup[np.minimum(seen[..., 0], len(lookup) - 1)]
            elif samples.planes > 1:
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
        samples = self._samples
        sound = (
            samples.sound
            and self._photometric in COLOURS
            and COLOURS[self._photometric] <= samples.of_pixel
            and (self._photometric != PALETTE or (samples.format == UNSIGNED and samples.bits <= 16))
        )
        if not sound:
            raise UnsupportedImage(f"This kind of TIFF ({self.kind}) is not read: save it as PNG.")

    def _range(self) -> tuple[float, float]:
        """Which numbers are black and white, or the other way round."""
        samples = self._samples
        if samples.format != FLOAT and samples.bits < 32:
            half = 1 << (samples.bits - 1)
            return (-half, half - 1) if samples.format == SIGNED else (0, 2 * half - 1)
        found = [extremes(values) for _, values in samples.values()]
        least, most = zip(*found, strict=True)
        return wide_range(samples.type.newbyteorder("="), min(least), max(most))

    def _palette(self) -> NDArray[np.uint8]:
        """(2^bits, 3); some write the map in 8 bits."""
        levels = numbers_in(self._tags, Base.ColorMap).reshape(3, -1).T
        return (levels if levels.max() <= 255 else levels // 256).astype(np.uint8)

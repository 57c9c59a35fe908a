"""Untrusted bytes to pixels: the only place that opens images, for serving, bulk jobs, training and clients.

What is understood: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF and JPEG 2000, HEIC where pi-heif is installed; the
first frame of an animation; EXIF orientation; CMYK, palettes, grey, more than 8 bits, and colour profiles.
Transparent parts become white.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.tokens.header import read_header
from service.tokens.opened import one_picture, opened, orientation_of
from service.tokens.upright import Upright

Fit = Literal["crop", "stretch", "pad"]

SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif", ".jp2"),
}
"""Of files that are taken for pictures, in lower case."""
PAD_COLOUR = (124, 116, 104)
"""ImageNet's mean colour (0.485, 0.456, 0.406 of 255): the model sees padding as nothing."""

MAX_PIXELS = 178_956_970
"""Pillow refuses more."""
SPARE = 1.25
"""How much larger than the model's picture a JPEG is decoded at least, where it is."""
RESIZED_BYTES = 4 * 36
"""For a pixel of the model's picture, what is resampled at most: less than six times as wide and as high."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the model's picture lies in the picture that was sent, in its upright pixels."""

    width: int
    height: int
    rectangle: tuple[float, float, float, float]
    """Left, top, right, bottom of what the model sees; beyond the picture where it was padded."""


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """Pixels (H, W, 3) of the size that was asked for, and where they come from."""

    pixels: NDArray[np.uint8]
    source: Source


class Picture:
    """An image as it was sent, for any thread to decode."""

    decoded: DecodedImage
    """Once there is one."""

    def __init__(self, data: bytes, side: int, fit: Fit, max_pixels: int) -> None:
        """Read its header; raises what `decode_image` does of what that tells."""
        self._data, self._side, self._fit = data, side, fit
        with one_picture():
            self._header = header = read_header(data, max_pixels, round(SPARE * side))
        pixels = header.width * header.height
        self.cost = max(pixels, header.decoded_bytes + RESIZED_BYTES * min(pixels // 36, side * side))
        """Bytes that decoding takes at its peak; a byte a pixel at least, for the time."""
        self.began = self.ended = 0.0
        """When it was decoded: `time.monotonic()` instants."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What the encoder takes: its pixels, decoded here and now; see `decode_image`."""
        self.began = time.monotonic()
        with one_picture():
            upright, full = opened(self._data, self._header, round(SPARE * self._side))
            self.decoded = _fitted(upright, full, self._side, self._fit)
        self.ended = time.monotonic()
        return {"image": self.decoded.pixels}


class Pictures:
    """Makes pictures of what was sent."""

    def __init__(self, *, max_pixels: int) -> None:
        self._max_pixels = max_pixels

    def picture(self, data: bytes, side: int, fit: Fit) -> Picture:
        """What was sent, not yet decoded, for a model that sees squares of `side` pixels; see `Picture`."""
        return Picture(data, side, fit, self._max_pixels)


def decode_image(data: bytes, side: int, fit: Fit, max_pixels: int) -> DecodedImage:
    """Pixels (side, side, 3) of the image in `data`.

    Raises `EmptyImage`, `UnknownImageFormat`, `UnsupportedImage`, `CorruptImage`, `TooManyPixels` and
    `TooMuchMemory`.
    """
    picture = Picture(data, side, fit, max_pixels)
    picture.arrays()
    return picture.decoded


def open_picture(
    source: bytes | Path, *, short_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """The picture as it is meant to be seen: upright, opaque, 8 bits. `resized` makes sRGB of it.

    A JPEG is decoded at the smallest scale at which its short side has `short_side` pixels, where that is
    given. Raises what `decode_image` does, and `OSError` for a file that can't be read.
    """
    data = source if isinstance(source, bytes) else source.read_bytes()
    with one_picture():
        return opened(data, read_header(data, max_pixels, short_side), short_side)[0].whole()


def upright_picture(image: Image.Image) -> Image.Image:
    """The same of a picture that Pillow has opened, or of one that never was a file.

    Raises `CorruptImage` and `TooManyPixels`.
    """
    with one_picture():
        image.load()
        return Upright(image.copy(), orientation_of(image)).whole()


def _fitted(upright: Upright, full: tuple[int, int], side: int, fit: Fit) -> DecodedImage:
    width, height = full
    left, top, right, bottom = rectangle = _rectangle(width, height, fit)
    scale_x, scale_y = upright.size[0] / width, upright.size[1] / height
    inside = (
        max(0.0, left) * scale_x,
        max(0.0, top) * scale_y,
        min(width, right) * scale_x,
        min(height, bottom) * scale_y,
    )
    share_x = (min(width, right) - max(0.0, left)) / (right - left)
    share_y = (min(height, bottom) - max(0.0, top)) / (bottom - top)
    size = max(1, round(side * share_x)), max(1, round(side * share_y))
    picture = upright.resized(size, inside)
    if size != (side, side):
        ground = Image.new("RGB", (side, side), PAD_COLOUR)
        ground.paste(picture, ((side - size[0]) // 2, (side - size[1]) // 2))
        picture = ground
    source = Source(width=width, height=height, rectangle=rectangle)
    return DecodedImage(pixels=np.asarray(picture), source=source)


def _rectangle(width: int, height: int, fit: Fit) -> tuple[float, float, float, float]:
    """What the model sees of a picture, in the picture's pixels."""
    if fit == "stretch":
        return 0.0, 0.0, float(width), float(height)
    side = min(width, height) if fit == "crop" else max(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side

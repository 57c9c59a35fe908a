"""Untrusted bytes to pixels: the only place that opens images, for serving, bulk jobs, training and clients.

What is understood: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF and JPEG 2000, HEIC where pi-heif is installed; the
first frame of an animation; EXIF orientation; CMYK, palettes, grey, more than 8 bits, and colour profiles.
Transparent parts become white.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.tokens.box import WHOLE, Box, pixels_of
from service.tokens.choices import Fit
from service.tokens.header import read_header
from service.tokens.opened import one_picture, opened, orientation_of
from service.tokens.size import ImageSize, sides
from service.tokens.upright import Upright

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
LONGEST_SIDE = 65_535
"""Of a JPEG: none is decoded for a longer one."""
RESIZED_BYTES = 4 * 36
"""For a pixel of the model's picture, what is resampled at most: less than six times as wide and as high."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the model's picture lies in the picture that was sent, in its upright pixels."""

    width: int
    height: int
    rectangle: tuple[float, float, float, float]
    """Left, top, right, bottom of what the model sees; beyond picture and box where it was padded."""
    box: tuple[float, float, float, float]
    """The part that was asked for; all of the picture where none was."""


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """Pixels (H, W, 3) of the size that was asked for, and where they come from."""

    pixels: NDArray[np.uint8]
    source: Source


class Picture:
    """An image as it was sent, for any thread to decode."""

    decoded: DecodedImage
    """Once there is one."""

    def __init__(self, data: bytes, size: ImageSize, fit: Fit, max_pixels: int, box: Box = WHOLE) -> None:
        """Read its header; raises what `decode_image` does of what that tells."""
        self._data, self._size, self._fit, self._box = data, sides(size), fit, box
        # The part has as many pixels as otherwise the whole. EXIF may turn it: either side may be the longer.
        share = min(box[2] - box[0], box[3] - box[1])
        self._short_side = math.ceil(min(round(SPARE * max(self._size)) / share, LONGEST_SIDE))
        with one_picture():
            self._header = header = read_header(data, max_pixels, self._short_side)
        pixels = header.width * header.height
        resized = RESIZED_BYTES * min(pixels // 36, math.prod(self._size))
        self.cost = max(pixels, header.decoded_bytes + resized)
        """Bytes that decoding takes at its peak; a byte a pixel at least, for the time."""
        self.began = self.ended = 0.0
        """When it was decoded: `time.monotonic()` instants."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What the encoder takes: its pixels, decoded here and now; see `decode_image`."""
        self.began = time.monotonic()
        with one_picture():
            upright, full = opened(self._data, self._header, self._short_side)
            self.decoded = _fitted(upright, full, self._size, self._fit, self._box)
        self.ended = time.monotonic()
        return {"image": self.decoded.pixels}


class Pictures:
    """Makes pictures of what was sent."""

    def __init__(self, *, max_pixels: int) -> None:
        self._max_pixels = max_pixels

    def picture(self, data: bytes, size: ImageSize, fit: Fit, box: Box = WHOLE) -> Picture:
        """What was sent, not yet decoded, for a model that sees pictures of this size; see `Picture`."""
        return Picture(data, size, fit, self._max_pixels, box)


def decode_image(data: bytes, size: ImageSize, fit: Fit, max_pixels: int, box: Box = WHOLE) -> DecodedImage:
    """Pixels (H, W, 3) of what is within `box` of the image in `data`, `size` being H and W.

    Raises `EmptyImage`, `UnknownImageFormat`, `UnsupportedImage`, `CorruptImage`, `TooManyPixels` and
    `TooMuchMemory`.
    """
    picture = Picture(data, size, fit, max_pixels, box)
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


def _fitted(
    upright: Upright, full: tuple[int, int], size: tuple[int, int], fit: Fit, box: Box
) -> DecodedImage:
    width, height = full
    down, across = size
    part = pixels_of(box, width, height)
    left, top, right, bottom = rectangle = _rectangle(part, fit, across / down)
    # Of what the model sees, what lies within the part.
    inner = max(part[0], left), max(part[1], top), min(part[2], right), min(part[3], bottom)
    scale_x, scale_y = upright.size[0] / width, upright.size[1] / height
    inside = inner[0] * scale_x, inner[1] * scale_y, inner[2] * scale_x, inner[3] * scale_y
    share_x, share_y = (inner[2] - inner[0]) / (right - left), (inner[3] - inner[1]) / (bottom - top)
    picture = upright.resized((max(1, round(across * share_x)), max(1, round(down * share_y))), inside)
    if picture.size != (across, down):
        ground = Image.new("RGB", (across, down), PAD_COLOUR)
        ground.paste(picture, ((across - picture.width) // 2, (down - picture.height) // 2))
        picture = ground
    source = Source(width=width, height=height, rectangle=rectangle, box=part)
    return DecodedImage(pixels=np.asarray(picture), source=source)


def _rectangle(part: Box, fit: Fit, aspect: float) -> Box:
    """What a model whose pictures have this width over height sees of a part of one, in its pixels."""
    if fit == "stretch":
        return part
    width, height = part[2] - part[0], part[3] - part[1]
    choose = min if fit == "crop" else max
    across, down = choose(width, height * aspect), choose(height, width / aspect)
    left, top = part[0] + (width - across) / 2, part[1] + (height - down) / 2
    return left, top, left + across, top + down

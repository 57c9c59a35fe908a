"""Untrusted bytes to pixels: the only place that opens images, for serving, bulk jobs, training and clients.

What is understood: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF and JPEG 2000, HEIC where pi-heif is installed; the
first frame of an animation; EXIF orientation; CMYK, palettes, grey, more than 8 bits, and colour profiles.
Transparent parts become white.
"""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.tokens.colour import opaque, to_srgb
from service.tokens.opened import one_picture, opened, orientation_of, turned

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
LARGE_PIXELS = 4_000_000
"""A picture that is decoded to more takes so much memory that few are decoded at a time."""
SPARE = 1.25
"""How much larger than the model's picture a JPEG is decoded at least, where it is."""
NO_LIMIT = nullcontext()


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

    def __init__(
        self, data: bytes, side: int, fit: Fit, max_pixels: int, large: AbstractContextManager[Any]
    ) -> None:
        self._how = data, side, fit, max_pixels, large
        self.began = self.ended = 0.0
        """When it was decoded: `time.monotonic()` instants."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What the encoder takes: its pixels, decoded here and now; see `decode_image`."""
        self.began = time.monotonic()
        self.decoded = decode_image(*self._how)
        self.ended = time.monotonic()
        return {"image": self.decoded.pixels}


class Pictures:
    """Makes pictures of what was sent; wherever those are decoded, few large ones are at a time."""

    def __init__(self, *, max_pixels: int, large_at_once: int) -> None:
        self._max_pixels = max_pixels
        self._large = threading.Semaphore(large_at_once)

    def picture(self, data: bytes, side: int, fit: Fit) -> Picture:
        """What was sent, not yet decoded, for a model that sees squares of `side` pixels."""
        return Picture(data, side, fit, self._max_pixels, self._large)


def decode_image(
    data: bytes,
    side: int,
    fit: Fit,
    max_pixels: int,
    large: AbstractContextManager[Any] = NO_LIMIT,
) -> DecodedImage:
    """Pixels (side, side, 3) of the image in `data`; one beyond `LARGE_PIXELS` is decoded within `large`.

    Raises `EmptyImage`, `UnknownImageFormat`, `UnsupportedImage`, `CorruptImage` and `TooManyPixels`.
    """
    with one_picture(max_pixels):
        file = opened(data, max_pixels, round(SPARE * side))
        with large if file.pixels > LARGE_PIXELS else NO_LIMIT:
            upright, full = file.upright()
            return _fitted(upright, full, side, fit)


def open_picture(
    source: bytes | Path, *, short_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """The picture as it is meant to be seen: upright, opaque, 8 bits. `resized` makes sRGB of it.

    A JPEG is decoded at the smallest scale at which its short side has `short_side` pixels, where that is
    given. Raises what `decode_image` does, and `OSError` for a file that can't be read.
    """
    data = source if isinstance(source, bytes) else source.read_bytes()
    with one_picture(max_pixels):
        return opened(data, max_pixels, short_side).upright()[0]


def upright_picture(image: Image.Image) -> Image.Image:
    """The same of a picture that Pillow has opened, or of one that never was a file.

    Raises `CorruptImage` and `TooManyPixels`.
    """
    with one_picture(MAX_PIXELS):
        image.load()
        return opaque(turned(image.copy(), orientation_of(image)))


def resized(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    """A picture of `open_picture`, or what is within `box` of it, at another size, RGB in sRGB."""
    return to_srgb(image.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=3.0))


def _fitted(upright: Image.Image, full: tuple[int, int], side: int, fit: Fit) -> DecodedImage:
    width, height = full
    left, top, right, bottom = rectangle = _rectangle(width, height, fit)
    scale_x, scale_y = upright.width / width, upright.height / height
    inside = (
        max(0.0, left) * scale_x,
        max(0.0, top) * scale_y,
        min(width, right) * scale_x,
        min(height, bottom) * scale_y,
    )
    share_x = (min(width, right) - max(0.0, left)) / (right - left)
    share_y = (min(height, bottom) - max(0.0, top)) / (bottom - top)
    size = max(1, round(side * share_x)), max(1, round(side * share_y))
    picture = resized(upright, size, inside)
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

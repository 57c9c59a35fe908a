"""Untrusted bytes to pixels: the only place that opens images.

What is understood: JPEG, PNG, WebP, GIF, BMP and TIFF; the first frame of an animation; EXIF orientation;
CMYK, palettes, grey and 16-bit pictures. Transparent parts become white.
"""

from __future__ import annotations

import io
import struct
import threading
import time
import zlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from service.errors import CorruptImage, EmptyImage, TooManyPixels, UnknownImageFormat

Fit = Literal["crop", "stretch", "pad"]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
"""Of files that are taken for pictures, in lower case."""
WHITE = (255, 255, 255)
PAD_COLOUR = (124, 116, 104)
"""ImageNet's mean colour (0.485, 0.456, 0.406 of 255): the model sees padding as nothing."""

LARGE_PIXELS = 4_000_000
"""A picture that is decoded to more takes so much memory that few are decoded at a time."""
SPARE = 1.25
"""How much larger than the model's picture a JPEG is decoded at least, where it is."""
NO_LIMIT = nullcontext()

# What Pillow's decoders raise for bytes that are no sound image, beside OSError and its own types.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
)


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

    Raises `EmptyImage`, `UnknownImageFormat`, `CorruptImage` and `TooManyPixels`.
    """
    if not data:
        raise EmptyImage("The image has no bytes.")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise TooManyPixels(f"The image is larger than {max_pixels} pixels.") from None
    except UnidentifiedImageError:
        raise UnknownImageFormat(
            f"The bytes are no image in a known format; understood are {', '.join(FORMATS)}."
        ) from None
    except DAMAGE:
        raise CorruptImage("The image is truncated or damaged.") from None
    with image:
        if image.width * image.height > max_pixels:
            raise TooManyPixels(
                f"The image has {image.width} × {image.height} pixels; at most {max_pixels} are accepted."
            )
        full = image.size
        try:
            _draft(image, side)
            with large if image.width * image.height > LARGE_PIXELS else NO_LIMIT:
                return _fitted(image, full, side, fit)
        except Image.DecompressionBombError:
            raise TooManyPixels(f"The image is larger than {max_pixels} pixels.") from None
        except DAMAGE:
            raise CorruptImage("The image is truncated or damaged.") from None


def _draft(image: Image.Image, side: int) -> None:
    """Have a JPEG decoded at an eighth, a quarter or half its size where that is more than is needed."""
    short = min(image.size)
    image.draft(
        "RGB", (round(SPARE * side * image.width / short), round(SPARE * side * image.height / short))
    )


def _fitted(image: Image.Image, full: tuple[int, int], side: int, fit: Fit) -> DecodedImage:
    image.load()  # a TIFF turns itself upright here, and its orientation is 1 from then on
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    width, height = reversed(full) if turned else full
    ImageOps.exif_transpose(image, in_place=True)
    upright = _rgb(image)
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
    picture = upright.resize(size, Image.Resampling.BICUBIC, box=inside, reducing_gap=3.0)
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


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        # 16-bit grey: Pillow clips where it should scale.
        values = np.asarray(image, dtype=np.float64)
        image = Image.fromarray((values / 257).clip(0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, (*WHITE, 255))
        ground.alpha_composite(image.convert("RGBA"))
        image = ground
    return image if image.mode == "RGB" else image.convert("RGB")

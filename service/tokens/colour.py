"""Pixels of any kind to sRGB, 8 bits.

H, W size of the picture · C channels
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from service.tokens.raster import Raster

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom, the latter two excluded."""
Info: TypeAlias = dict[str | tuple[int, int], Any]
"""What Pillow notes of a picture."""

SPACES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
"""Colour spaces of profiles, and the modes of their pictures."""
INTEGER_PEAKS = (255, 65535)
SHORT = (-32768.0, 32767.0)
FLOAT_PEAKS = (1, 255, 65535)
OVERSHOOT = 2
"""How far above a peak floats may lie before the next one is meant: sharpened pictures leave 0..1."""
BAND = 1 << 18
"""Numbers or pixels that are converted at once."""
PROFILES = 16
"""Transforms that are kept; a profile for print has a megabyte."""


class Opaque:
    """A loaded picture in 8 bits and mode RGB, transparent parts white; it is made in parts.

    A picture with a profile for grey or print stays in that mode, L or CMYK. `info` has the profile where it
    goes with the mode, for `to_srgb`, and nothing else.
    """

    def __init__(self, image: Image.Image | Raster) -> None:
        self._image = image
        profile = image.info.get("icc_profile") or b""
        wanted = SPACES.get(profile[16:20], "RGB")
        self._numbers = image.mode.startswith(("I", "F"))
        mode = "L" if self._numbers else "RGB" if image.mode == "LAB" else image.mode
        fits = wanted == "RGB" and mode != "CMYK"
        fits = fits or (wanted == "L" and mode in ("1", "L", "LA", "La")) or wanted == mode == "CMYK"
        self.mode = wanted if fits else "RGB"
        fits = fits and image.mode != "LAB"
        self.info: Info = {"icc_profile": profile} if profile and fits else {}
        self._range = self._extremes() if self._numbers else (0.0, 0.0)

    @property
    def as_it_is(self) -> Image.Image | None:
        """The loaded picture itself, where it is opaque already."""
        image = self._image
        if isinstance(image, Raster) or image.mode != self.mode or image.has_transparency_data:
            return None
        return image

    def part(self, box: Box) -> Image.Image:
        """What is within left, top, right and bottom."""
        image = self._image
        if isinstance(image, Raster) or box != (0, 0, *image.size):
            image = image.crop(box)
        if image.mode in ("La", "RGBa"):
            image = image.convert(image.mode.upper())
        if self._numbers:
            image = _from_numbers(image, *self._range)
        elif image.mode == "LAB":
            image = _lab(image)
        if image.has_transparency_data:
            return _on_white(image, self.mode)
        return image if image.mode == self.mode else image.convert(self.mode)

    def _extremes(self) -> tuple[float, float]:
        """Which numbers are black and white."""
        found = [
            (values.dtype, *extremes(values))
            for values in (np.asarray(self._image.crop(box)) for box in tiles((0, 0, *self._image.size)))
            if values.dtype.itemsize > 2
        ]
        if not found:
            return 0.0, 65535.0
        kinds, least, most = zip(*found, strict=True)
        return wide_range(kinds[0], min(least), max(most))


def tiles(box: Box, factor: tuple[int, int] = (1, 1)) -> Iterator[Box]:
    """A box in parts of about `BAND` pixels, whose sides are multiples of `factor` save at the end."""
    left, top, right, bottom = box
    across = max(1, BAND // (factor[0] * factor[1])) * factor[0]
    across = min(right - left, across)
    down = max(1, BAND // (across * factor[1])) * factor[1]
    for y in range(top, bottom, down):
        for x in range(left, right, across):
            yield x, y, min(x + across, right), min(y + down, bottom)


def to_srgb(image: Image.Image) -> Image.Image:
    """A picture of `opaque` in mode RGB; its colours are meant as sRGB then."""
    profile = image.info.get("icc_profile")
    transform = _transform(profile, image.mode) if profile else None
    if transform is not None:
        image = transform.apply(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def to_bytes(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Numbers as 0..255, `low` being black and `high` white; what is not finite is black."""
    scaled = np.asarray(values, np.float32)
    if not np.issubdtype(values.dtype, np.integer):
        scaled = np.nan_to_num(scaled, nan=low, posinf=high, neginf=low)
    with np.errstate(over="ignore"):
        scaled = (scaled - np.float32(low)) * np.float32(255 / (high - low))
    levels: NDArray[np.uint8] = (np.clip(scaled, 0, 255) + np.float32(0.5)).astype(np.uint8)
    return levels


def wide_range(kind: np.dtype[np.generic], least: float, most: float) -> tuple[float, float]:
    """Black and white of numbers whose type says little: floats, and integers of 32 bits and more.

    `least` and `most` are the extremes of the picture: it is as bright as the smallest usual range that holds
    it makes it.
    """
    if kind.kind == "f":
        peaks = (peak for peak in FLOAT_PEAKS if most <= OVERSHOOT * peak)
        return 0.0, next(peaks, most)
    limits = np.iinfo(kind)  # type: ignore[type-var]
    if least < 0:
        return SHORT if SHORT[0] <= least and most <= SHORT[1] else (float(limits.min), float(limits.max))
    return 0.0, float(next((peak for peak in INTEGER_PEAKS if most <= peak), limits.max))


def extremes(values: NDArray[np.generic]) -> tuple[float, float]:
    """Least and largest finite number; 0 and 0 where there is none."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def _on_white(image: Image.Image, mode: str) -> Image.Image:
    """In mode L, RGB or CMYK."""
    ground = Image.new(mode, image.size, "white")
    image = image.convert("LA" if mode == "L" else "RGBA")
    ground.paste(image.convert(mode), (0, 0), image.getchannel("A"))
    return ground


def _from_numbers(image: Image.Image, low: float, high: float) -> Image.Image:
    """Grey of more than 8 bits, which Pillow clips where it should scale."""
    values = np.asarray(image)
    grey = Image.fromarray(to_bytes(values, low, high))
    clear = image.info.get("transparency")
    if clear is not None:
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _lab(image: Image.Image) -> Image.Image:
    lab, srgb = _profile("LAB"), _profile("sRGB")
    # A table, which is what it is optimized to, is off by a dozen levels.
    exact = ImageCms.Flags.NOOPTIMIZE
    return ImageCms.ImageCmsTransform(lab, srgb, "LAB", "RGB", flags=exact).apply(image)


@lru_cache(PROFILES)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; None where that changes hardly anything, and for a profile that is no good."""
    try:
        transform = ImageCms.ImageCmsTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            _profile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOCACHE,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    if mode == "CMYK":
        return transform
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(64, 64, 3)
    colours = Image.fromarray(grid).convert(mode)
    before, after = (np.asarray(each, int) for each in (colours.convert("RGB"), transform.apply(colours)))
    return transform if np.abs(after - before).max() > 1 else None


def _profile(space: Literal["LAB", "sRGB"]) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space))

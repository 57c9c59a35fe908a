"""Pixels of any kind to sRGB, 8 bits.

H, W size of the picture · C channels
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

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


def opaque(image: Image.Image) -> Image.Image:
    """8 bits in mode RGB, transparent parts white.

    A picture with a profile for grey or print stays in that mode, L or CMYK. `info` has the profile where it
    goes with the mode, for `to_srgb`, and nothing else.
    """
    profile = image.info.get("icc_profile") or b""
    mode = SPACES.get(profile[16:20], "RGB")
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    if image.mode.startswith(("I", "F")):
        image = _from_numbers(image)
    elif image.mode == "LAB":
        image, profile = _lab(image), b""
    fits = mode == "RGB" and image.mode != "CMYK"
    fits = fits or (mode == "L" and image.mode in ("1", "L", "LA")) or mode == image.mode == "CMYK"
    mode = mode if fits else "RGB"
    if image.has_transparency_data:
        image = _on_white(image, mode)
    image = image if image.mode == mode else image.convert(mode)
    image.info = {"icc_profile": profile} if profile and fits else {}
    return image


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
    """In mode L or RGB, some rows at a time."""
    ground = Image.new(mode, image.size, "white")
    rows = max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height)))
        part = part.convert("LA" if mode == "L" else "RGBA")
        ground.paste(part.convert(mode), (0, top), part.getchannel("A"))
    return ground


def _from_numbers(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits, which Pillow clips where it should scale."""
    values = np.asarray(image)
    values = values.reshape(image.height, image.width)
    rows = max(1, BAND // image.width)
    bands = [values[top : top + rows] for top in range(0, image.height, rows)]
    low, high = 0.0, 65535.0
    if values.dtype.itemsize > 2:
        least, most = zip(*map(extremes, bands), strict=True)
        low, high = wide_range(values.dtype, min(least), max(most))
    clear = image.info.get("transparency")
    out = np.empty((*values.shape, 1 if clear is None else 2), np.uint8)
    for i, band in enumerate(bands):
        part = out[i * rows : i * rows + len(band)]
        part[..., 0] = to_bytes(band, low, high)
        if clear is not None:
            part[..., 1] = np.where(band == clear, 0, 255)
    return Image.fromarray(out[..., 0] if clear is None else out)


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

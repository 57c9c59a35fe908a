"""Pictures of programs to bytes for the service, and back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from service.client.errors import StellarError

Picture: TypeAlias = str | Path | bytes | NDArray[np.uint8] | Image.Image
"""A file's path, an encoded picture, pixels (H, W), (H, W, 3) or (H, W, 4) in uint8, or a picture of PIL."""

PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def encoded(picture: Picture) -> bytes:
    """The picture as bytes; what is not encoded yet becomes PNG.

    Raises `StellarError` for a file that can't be read, `ValueError` for arrays that are no picture, and
    `TypeError` for anything else.
    """
    match picture:
        case bytes():
            return picture
        case str() | Path():
            try:
                return Path(picture).read_bytes()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise StellarError("unreadable_file", f"{picture}: {reason}") from error
        case np.ndarray():
            return _png(Image.fromarray(_checked(picture)))
        case Image.Image():
            return _png(ImageOps.exif_transpose(picture))
        case _:
            raise TypeError(f"expected a path, bytes, an array or a PIL image, got {type(picture).__name__}")


def decoded(data: bytes) -> Image.Image:
    """A picture from the service."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def _checked(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    shape = pixels.shape
    if pixels.dtype != np.uint8 or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))):
        raise ValueError(f"expected uint8 pixels (H, W), (H, W, 3) or (H, W, 4), got {pixels.dtype} {shape}")
    if 0 in shape:
        raise ValueError(f"expected at least one pixel, got {shape}")
    return pixels


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image = image if image.mode in PNG_MODES else image.convert("RGB")
    image.save(buffer, "PNG", compress_level=1)  # the way to the service is short, or the time dear
    return buffer.getvalue()

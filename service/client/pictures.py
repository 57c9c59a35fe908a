"""Pictures of programs to bytes for the service, and back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from service.client.errors import StellarError
from service.errors import BadImage
from service.tokens.colour import to_srgb
from service.tokens.pictures import upright_picture

SENT_AS_THEY_ARE = {"JPEG", "MPO", "PNG", "GIF", "BMP", "TIFF"}
"""Pillow's names of formats that every service reads."""

Picture: TypeAlias = str | Path | bytes | NDArray[np.uint8] | Image.Image
"""A file's path, an encoded picture, pixels (H, W), (H, W, 3) or (H, W, 4) in uint8, or a picture of PIL."""


def encoded(picture: Picture) -> bytes:
    """The picture as bytes; what is not encoded yet becomes PNG.

    Raises `StellarError` for a file or picture that can't be read, `ValueError` for arrays that are no
    picture, and `TypeError` for anything else.
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
            return _of_pil(picture)
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


def _of_pil(image: Image.Image) -> bytes:
    """The file of a picture that has only been opened, or else its pixels as the service would see them."""
    try:
        data = _file_of(image)
        if data is None:
            upright = upright_picture(image)
            data = _png(to_srgb(upright) if upright.mode == "CMYK" else upright)
        return data
    except BadImage as error:
        raise StellarError(error.code, error.detail, error.status) from error
    except (OSError, ValueError) as error:
        raise StellarError("unreadable_file", f"the picture's file can't be read: {error}") from error


def _file_of(image: Image.Image) -> bytes | None:
    """What Pillow would decode; None where it has, or where that may not be what the service would."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile or image.decoderconfig:
        return None
    if image.fp is None or image.tell() != 0 or image.format not in SENT_AS_THEY_ARE:
        return None
    image.fp.seek(0)
    return image.fp.read()


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)  # the way to the service is short, or the time dear
    return buffer.getvalue()

"""Encoded pictures: which format they are of, how large, which side is up, and their pixels as stored."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from PIL import ExifTags, Image, UnidentifiedImageError

from service.errors import (
    CorruptImage,
    EmptyImage,
    ServiceError,
    TooManyPixels,
    UnknownImageFormat,
    UnsupportedImage,
)
from service.tokens import jpeg, png, tiff
from service.tokens.colour import opaque

try:
    from pi_heif import register_heif_opener
except ModuleNotFoundError:
    HEIC: tuple[str, ...] = ()
else:
    register_heif_opener(thumbnails=False)
    HEIC = ("HEIF",)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", *HEIC)
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
BMP = b"BM"

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by EXIF's orientation (EXIF 2.32, table 6)."""


class Opened(NamedTuple):
    """A picture whose header has been read."""

    size: tuple[int, int]
    """Width and height as they are stored."""
    pixels: int
    """How many it is decoded to."""
    load: Callable[[], tuple[Image.Image, int]]
    """Decodes it as it is stored; and EXIF's orientation."""

    def upright(self) -> tuple[Image.Image, tuple[int, int]]:
        """The picture as it is meant, see `opaque`, and its whole width and height."""
        image, orientation = self.load()
        image = turned(image, orientation)
        width, height = self.size
        return opaque(image), (height, width) if orientation >= 5 else (width, height)


@contextmanager
def one_picture(max_pixels: int) -> Iterator[None]:
    """Whatever a decoder raises within is told as an error of its picture."""
    try:
        yield
    except ServiceError:
        raise
    except Image.DecompressionBombError:
        raise TooManyPixels(f"The image is larger than {max_pixels} pixels.") from None
    except MemoryError:
        raise TooManyPixels("The image takes more memory than there is.") from None
    except Exception as error:
        raise CorruptImage("The image is truncated or damaged.") from error


def opened(data: bytes, max_pixels: int, short_side: int | None) -> Opened:
    """A picture of at most `max_pixels`.

    A JPEG will be decoded at the smallest scale at which its short side has `short_side` pixels, where that
    is given. Raises `EmptyImage`, `UnknownImageFormat`, `UnsupportedImage`, `TooManyPixels`, and whatever a
    decoder does for a damaged one: see `one_picture`.
    """
    if not data:
        raise EmptyImage("The image has no bytes.")
    if data.startswith(tiff.MAGIC):
        return _opened_tiff(data, max_pixels)
    if data.startswith(png.SIGNATURE):
        data = png.lean(data)
    elif data.startswith(jpeg.START):
        data = jpeg.lean(data)
    image = _recognized(data)
    _check_size(*image.size, max_pixels)
    size = image.size

    def draft(file: Image.Image) -> Image.Image:
        if short_side is not None:
            file.draft("RGB", (short_side, short_side))
        return file

    def decode(mended: bytes) -> Image.Image:
        other = draft(_recognized(mended))
        other.load()
        return other

    def load() -> tuple[Image.Image, int]:
        image = held.pop()  # no longer than needed: it is turned next
        try:
            image.load()
        except OSError:
            if not data.startswith(jpeg.START):
                raise
            whole = jpeg.without_end(data, decode)
            return whole, orientation_of(whole)
        return image, orientation_of(image)

    held = [draft(image)]
    return Opened(size, image.width * image.height, load)


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation of a picture that is loaded, 1 where there is none that can be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
        return int(value) if value in TURNS else 1
    except Exception:  # EXIF holds anything, and its parser raises anything
        return 1


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The picture upright. Its EXIF stays as it is: writing that again fails for what cameras write."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def _opened_tiff(data: bytes, max_pixels: int) -> Opened:
    file = tiff.Tiff(data)
    width, height = size = file.size
    _check_size(width, height, max_pixels)

    def load() -> tuple[Image.Image, int]:
        if file.plain:
            try:
                image = Image.open(io.BytesIO(data), formats=("TIFF",))
            except UnidentifiedImageError:
                pass
            else:
                # It would turn itself upright, by a block of EXIF that may be unreadable.
                image.info["exif"] = b""
                image.info.pop("xmp", None)
                image.load()
                return image, file.orientation
        return file.read(), file.orientation

    return Opened(size, width * height, load)


def _recognized(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS and not HEIC:
            raise UnsupportedImage(
                "HEIC is not read here: pip install 'stellar-service[heic]', or send a JPEG."
            ) from None
        raise UnknownImageFormat(
            f"The bytes are no image in a known format; understood are {', '.join(FORMATS)}."
        ) from None
    except OSError as error:
        if data.startswith(BMP) and str(error).startswith("Unsupported BMP"):
            raise UnsupportedImage(
                f"This kind of BMP ({_bmp_kind(data)}) is not read: save it as PNG."
            ) from None
        raise


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooManyPixels(f"The image has {width} × {height} pixels; at most {max_pixels} are accepted.")


def _bmp_kind(data: bytes) -> str:
    """Its bits and compression, and its masks where it has them."""
    bits, compression = struct.unpack_from("<HI", data, 28)
    masks = struct.unpack_from("<3I", data, 54) if compression in (3, 6) and len(data) >= 66 else ()
    return f"{bits} bits, compression {compression}" + "".join(f", mask {mask:08X}" for mask in masks)

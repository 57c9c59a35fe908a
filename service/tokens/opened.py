"""Encoded pictures to their pixels: a header is read first, and what can't be right is refused by it."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import ExifTags, Image, UnidentifiedImageError

from service.errors import (
    CorruptImage,
    ServiceError,
    TooManyPixels,
    TooMuchMemory,
    UnknownImageFormat,
    UnsupportedImage,
)
from service.tokens import gif, jpeg, png, tiff
from service.tokens.formats import FORMATS, HEIC, HEIC_BRANDS
from service.tokens.header import BMP, Header
from service.tokens.raster import Raster
from service.tokens.upright import TURNS, Upright

OUT_OF_MEMORY = "out of memory"
"""What Pillow says where a decoder of its own has none; it raises `OSError` then."""


@contextmanager
def one_picture() -> Iterator[None]:
    """Whatever a decoder raises within is told as an error of its picture."""
    try:
        yield
    except ServiceError:
        raise
    except Image.DecompressionBombError:
        raise TooManyPixels("The image is larger than any decoder takes: send a smaller one.") from None
    except Exception as error:
        if isinstance(error, MemoryError) or OUT_OF_MEMORY in str(error):
            raise TooMuchMemory(
                "Decoding the image took more memory than there is: send a smaller one."
            ) from None
        raise CorruptImage from error


def opened(data: bytes, header: Header, short_side: int | None) -> tuple[Upright, tuple[int, int]]:
    """A picture with this header, and its whole width and height, upright.

    A JPEG is decoded at the smallest scale at which its short side has `short_side` pixels, where that is
    given, and JPEG 2000 in the smallest such resolution. Raises `UnknownImageFormat`, `UnsupportedImage`,
    `CorruptImage`, and whatever a decoder does for a damaged one: see `one_picture`.
    """
    if data.startswith(tiff.MAGIC):
        image, orientation = _tiff_loaded(data)
    else:
        image = _loaded(_lean(data), header, short_side)
        orientation = orientation_of(image)
    upright = Upright(image, orientation)
    size = (header.height, header.width) if upright.sideways else (header.width, header.height)
    return upright, size


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation of a picture that is loaded, 1 where there is none that can be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
        return int(value) if value in TURNS else 1
    except Exception:  # EXIF holds anything, and its parser raises anything
        return 1


def _lean(data: bytes) -> bytes:
    """The file without what decoders need not see."""
    if data.startswith(png.SIGNATURE):
        return png.lean(data)
    if data.startswith(jpeg.START):
        return jpeg.lean(data)
    return gif.lean(data) if data.startswith(gif.MAGIC) else data


def _loaded(data: bytes, header: Header, short_side: int | None) -> Image.Image:
    """The picture as it is stored, no larger than its header says."""

    def decode(mended: bytes) -> Image.Image:
        image = _recognized(mended)
        if image.width * image.height > header.width * header.height:
            raise CorruptImage("The image's header is damaged: it tells of two sizes.")
        if short_side is not None:
            image.draft("RGB", (short_side, short_side))
        if header.halvings:
            # Pillow rounds halves, OpenJPEG rounds them up: findings/pillow-jpeg-2000-reduced-size.sh
            width, height = (-(-side >> header.halvings) << header.halvings for side in image.size)
            image._size = width, height
            image.reduce = header.halvings  # type: ignore[method-assign, assignment] # of JPEG 2000's plugin
        image.load()
        return image

    try:
        return decode(data)
    except OSError as error:
        if not data.startswith(jpeg.START) or OUT_OF_MEMORY in str(error):
            raise
    return jpeg.without_end(data, decode)


def _tiff_loaded(data: bytes) -> tuple[Image.Image | Raster, int]:
    file = tiff.Tiff(data)
    if file.plain:
        try:
            image = Image.open(io.BytesIO(data), formats=("TIFF",))
        except UnidentifiedImageError:
            pass
        else:
            # It would turn itself upright, by a block of EXIF that may be unreadable.
            image.info["exif"] = b""
            image.info.pop("xmp", None)
            if sorted(image.size) != sorted(file.size):
                raise CorruptImage("The TIFF's directory is damaged.")
            image.load()
            return image._new(image.im), file.orientation  # of the size that is stored
    return file.read(), file.orientation


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


def _bmp_kind(data: bytes) -> str:
    """Its bits and compression, and its masks where it has them."""
    bits, compression = struct.unpack_from("<HI", data, 28)
    masks = struct.unpack_from("<3I", data, 54) if compression in (3, 6) and len(data) >= 66 else ()
    return f"{bits} bits, compression {compression}" + "".join(f", mask {mask:08X}" for mask in masks)

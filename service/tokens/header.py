"""What an encoded picture's first bytes say: its size, and what decoding it takes.

Pillow is not asked: some of its decoders take memory as soon as they open a file. Reading takes microseconds,
and a bounded number of steps for whatever bytes.

What decoders take a pixel was measured as a process's peak (VmHWM) at 20 megapixels, with Pillow 13.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from service.errors import CorruptImage, EmptyImage, TooManyPixels, UnknownImageFormat, UnsupportedImage
from service.tokens import gif, jpeg, png, tiff
from service.tokens.formats import AVIF_BRANDS, FORMATS, HEIC_BRANDS
from service.tokens.frames import frame_pixels
from service.tokens.isobmff import boxes

WEBP_BYTES = 17
"""A pixel of WebP: two canvases, a copy, the picture. Measured: 16.1."""
AVIF_BYTES = 20
"""A pixel of AVIF, or HEIC: planes of 8 to 16 bits, a copy, the picture. Measured: 3.6 to 11.8 at 8 bits."""
JPEG_2000_BYTES = 6
"""A number of JPEG 2000, beside the picture. Measured: 5.0 at 8 bits, 6.0 at 16."""
JPEG_2000_NOTES = 0.5
"""What OpenJPEG notes of a pixel that is halved away. Measured: 0.1 of plain ones, 0.3 of noise."""
JPEG_2000_TILE_BYTES = 6_000
"""What OpenJPEG notes of each tile."""
GIF_BYTES = 2
JPEG_2000_PIXELS = 1 << 20
"""Most pixels of JPEG 2000 that are decoded for a short side: Pillow holds Python's lock all the while."""
CODING_STYLE, MAX_MARKERS = 0xFF52, 64
JPEG_2000, JP2 = b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"
BMP, BMP_SHORT_HEADER, RUN_LENGTHS = b"BM", 12, (1, 2)
MAX_RUN_BYTES = 1 << 20
"""Of a BMP with run lengths, which Pillow decodes run by run in Python."""


class Header(NamedTuple):
    """What a picture's header says."""

    width: int
    height: int
    """As they are stored: EXIF may turn them."""
    decoded_bytes: int
    """The most that decoding takes at once beside the file, a copy of which is made for some decoders."""
    halvings: int = 0
    """How often a JPEG 2000 is halved before it is decoded."""


def read_header(data: bytes, max_pixels: int, short_side: int | None) -> Header:
    """The header of a picture of at most `max_pixels`; JPEG and JPEG 2000 are decoded for `short_side`, see
    `opened`.

    Raises `EmptyImage`, `UnknownImageFormat`, `UnsupportedImage`, `CorruptImage` and `TooManyPixels`.
    """
    if not data:
        raise EmptyImage("The image has no bytes.")
    try:
        header = _reader(data, short_side)(data)
    except (IndexError, OverflowError, ValueError, struct.error):  # bytes are missing, or lead nowhere
        raise CorruptImage from None
    width, height = header.width, header.height
    if min(width, height) < 1:
        raise CorruptImage("The image's header is damaged: it has no size.")
    if width * height > max_pixels:
        raise TooManyPixels(
            f"The image has {width} × {height} pixels; at most {max_pixels} are accepted: send a smaller one."
        )
    return header


def _jpeg(data: bytes, *, short_side: int | None) -> Header:
    """A JPEG's, which depends on the scale at which it is decoded."""
    frame = jpeg.read_frame(data)
    if frame is None:
        raise _unknown()
    return Header(frame.width, frame.height, frame.decoded_bytes(short_side) + len(data))


def _reader(data: bytes, short_side: int | None) -> Callable[[bytes], Header]:
    """What reads the header of a format. Raises `UnknownImageFormat`."""
    if data.startswith(jpeg.MAGIC):
        return partial(_jpeg, short_side=short_side)
    if data.startswith((JPEG_2000, JP2)):
        return partial(_jpeg_2000, short_side=short_side)
    for magic, read in READERS.items():
        if data.startswith(magic):
            return read
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp
    if data[4:8] == b"ftyp" and data[8:12] in (*AVIF_BRANDS, *HEIC_BRANDS):
        return _avif
    raise _unknown()


def _unknown() -> UnknownImageFormat:
    return UnknownImageFormat(
        f"The bytes are no image in a known format; understood are {', '.join(FORMATS)}."
    )


def _png(data: bytes) -> Header:
    width, height, pixel_bytes = png.read_size(data)
    return Header(width, height, width * height * pixel_bytes + len(data))


def _gif(data: bytes) -> Header:
    width, height = gif.read_size(data)
    return Header(width, height, width * height * GIF_BYTES + len(data))


def _tiff(data: bytes) -> Header:
    file = tiff.Tiff(data)
    return Header(*file.size, file.decoded_bytes)


def _bmp(data: bytes) -> Header:
    if data[14] == BMP_SHORT_HEADER:
        width, height, _, bits = struct.unpack_from("<4H", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<IiHHI", data, 18)
    runs = compression in RUN_LENGTHS
    if runs and len(data) > MAX_RUN_BYTES:
        raise UnsupportedImage("A BMP of this size with run lengths is not read: save it as PNG.")
    pixels = width * abs(height)
    return Header(width, abs(height), pixels if bits <= 8 and not runs else 4 * pixels)


def _webp(data: bytes) -> Header:
    """The canvas: libwebp's container, and RFC 6386 for what is in a lone `VP8 `."""
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif kind == b"VP8L" and data[20] == 0x2F:
        (sizes,) = struct.unpack_from("<I", data, 21)
        width, height = (sizes & 0x3FFF) + 1, (sizes >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", data, 26))
    else:
        raise CorruptImage("The WebP's header is damaged.")
    return Header(width, height, width * height * WEBP_BYTES + len(data))


def _avif(data: bytes) -> Header:
    """The largest of its pictures, or of its tracks; what is decoded may be larger, and costs."""
    width = height = 0
    for kind, start, end in boxes(data):
        size = (0, 0)
        if kind == b"ispe":
            size = struct.unpack_from(">II", data, start + 4)
        elif kind == b"tkhd":
            size = tuple(side >> 16 for side in struct.unpack_from(">II", data, end - 8))
        width, height = max((width, height), size, key=lambda sides: sides[0] * sides[1])
    pixels = max(width * height, frame_pixels(data))
    return Header(width, height, pixels * AVIF_BYTES + len(data))


def _jpeg_2000(data: bytes, *, short_side: int | None) -> Header:
    """The codestream's size (ISO/IEC 15444-1, A.5.1), and the file's where that is larger.

    For a short side it is decoded in the smallest of its resolutions that is no shorter.
    """
    width = height = decoded = halvings = 0
    for kind, start, _ in boxes(data) if data.startswith(JP2) else ((b"jp2c", 0, 0),):
        if kind == b"ihdr":
            down, across = struct.unpack_from(">II", data, start)
            width, height = max(width, across), max(height, down)
        elif kind == b"jp2c":
            right, bottom, left, top, across, down, _, _, samples = struct.unpack_from(
                ">8IH", data, start + 8
            )
            width, height = max(width, right - left), max(height, bottom - top)
            if not across or not down:
                raise CorruptImage("The JPEG 2000's header is damaged: its tiles have no size.")
            if short_side is not None:
                halvings = _halvings(width, height, _resolutions(data, start + 2), short_side)
            tile = (min(across, width) * min(down, height) >> 2 * halvings) + 1
            tiles = -(-right // across) * -(-bottom // down)
            noted = JPEG_2000_NOTES * width * height if halvings else 0
            decoded = tile * samples * JPEG_2000_BYTES + tiles * JPEG_2000_TILE_BYTES + int(noted)
            break
    pixels = width * height >> 2 * halvings
    return Header(width, height, pixels * 4 + decoded + len(data), halvings)


def _resolutions(data: bytes, start: int) -> int:
    """How often a codestream can be halved, which its coding style says (A.6.1)."""
    for _ in range(MAX_MARKERS):
        marker, length = struct.unpack_from(">HH", data, start)
        if marker == CODING_STYLE:
            return min(data[start + 9], 32)
        start += 2 + length
    raise CorruptImage("The JPEG 2000's header is damaged: it has no coding style.")


def _halvings(width: int, height: int, most: int, short_side: int) -> int:
    """As many as leave the short side as long as is wanted, and more where that is still too large.

    Raises `UnsupportedImage` where it can't be halved so often.
    """
    halvings = 0
    while halvings < most and min(width, height) >> halvings + 1 >= short_side:
        halvings += 1
    while width * height >> 2 * halvings > JPEG_2000_PIXELS:
        if halvings == most:
            raise UnsupportedImage(
                f"A JPEG 2000 of {width} × {height} pixels is read where it has smaller resolutions, "
                "and this has too few: send a JPEG."
            )
        halvings += 1
    return halvings


READERS: dict[bytes | tuple[bytes, ...], Callable[[bytes], Header]] = {
    png.SIGNATURE: _png,
    gif.MAGIC: _gif,
    BMP: _bmp,
    tiff.MAGIC: _tiff,
}

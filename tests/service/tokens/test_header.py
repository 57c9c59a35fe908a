"""A picture's header tells its size and what decoding it takes, before any decoder sees it."""

from __future__ import annotations

import io
import json
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.errors import CorruptImage, ServiceError, TooManyPixels, UnsupportedImage
from service.tokens.directory import MOST_NUMBERS
from service.tokens.gif import MAX_BLOCKS
from service.tokens.header import MAX_RUN_BYTES, read_header
from service.tokens.isobmff import MAX_BOXES
from service.tokens.jpeg import MAX_SCANS, MAX_SEGMENTS
from service.tokens.pictures import Pictures, decode_image
from service.tokens.png import MAX_CHUNKS
from service.tokens.samples import MAX_PLACES
from tests.service.photos import encoded
from tests.service.tokens.files import chunk, jpeg, png, segment, shorts, tiff
from tests.service.tokens.kinds import KINDS, Kind
from tests.service.tokens.large import COSTLY, LARGE, PIXELS
from tests.service.tokens.values import SIDE

READ = [kind for kind in KINDS if kind.error is None]
MAX_PIXELS = 50_000_000
SPARE_BYTES = 16 * 2**20
"""What a process takes at its first picture, whatever its size."""


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.name)
def test_header_of_every_kind_tells_its_size(kind: Kind) -> None:
    header = read_header(kind.make(), MAX_PIXELS, None)
    assert (header.width, header.height) == (SIDE, SIDE)


FORMATS: list[tuple[str, str, dict[str, Any]]] = [
    ("RGB", "JPEG", {}),
    ("L", "JPEG", {"progressive": True}),
    ("RGB", "PNG", {}),
    ("P", "GIF", {}),
    ("RGB", "BMP", {}),
    ("1", "BMP", {}),
    ("RGB", "TIFF", {}),
    ("RGB", "WEBP", {}),
    ("RGB", "WEBP", {"lossless": True}),
    ("RGBA", "WEBP", {}),
    ("RGBA", "AVIF", {}),
    ("RGB", "JPEG2000", {}),
    ("RGB", "JPEG2000", {"no_jp2": True}),
]


@pytest.mark.parametrize(("mode", "kind", "options"), FORMATS)
def test_header_and_pillow_tell_the_same_size(mode: str, kind: str, options: dict[str, Any]) -> None:
    source = random.Random(5)
    for _ in range(8):
        size = source.randint(1, 300), source.randint(1, 300)
        data = encoded(Image.new(mode, size), kind, **options)
        header = read_header(data, MAX_PIXELS, None)
        with Image.open(io.BytesIO(data)) as image:
            assert (header.width, header.height) == image.size == size


def test_jpeg_is_charged_at_the_scale_at_which_it_is_decoded() -> None:
    source = random.Random(6)
    for _ in range(30):
        short_side = source.randint(8, 200)
        size = source.randint(8, 2000), source.randint(8, 2000)
        data = encoded(Image.new("RGB", size), "JPEG")
        with Image.open(io.BytesIO(data)) as image:
            image.draft("RGB", (short_side, short_side))
            pixels = image.width * image.height
            assert read_header(data, MAX_PIXELS, short_side).decoded_bytes == 4 * pixels + len(data)


def test_frame_beyond_a_gif_s_canvas_makes_it_larger() -> None:
    data = bytearray(encoded(Image.new("P", (10, 10)), "GIF"))
    data[6:10] = struct.pack("<HH", 4, 20)
    header = read_header(bytes(data), MAX_PIXELS, None)
    with Image.open(io.BytesIO(data)) as image:
        assert (header.width, header.height) == image.size == (10, 20)


def test_decoding_takes_no_more_than_the_header_says(tmp_path: Path) -> None:
    """And four bytes a pixel, save for kinds whose decoders take more."""
    for name, make in (LARGE | COSTLY).items():
        (tmp_path / name).write_bytes(make())
    command = [sys.executable, "-m", "tests.service.tokens.large", str(tmp_path)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    peaks = {name: (peak, cost) for name, peak, cost in map(json.loads, lines)}
    assert peaks.keys() == (LARGE | COSTLY).keys()
    dear = {name: peak / PIXELS for name, (peak, cost) in peaks.items() if peak > cost + SPARE_BYTES}
    assert not dear
    large = {name: peaks[name][0] / PIXELS for name in LARGE if peaks[name][0] > 4.5 * PIXELS + SPARE_BYTES}
    assert not large


def canvas(width: int, height: int) -> bytes:
    """A WebP that says how large it is, and no more."""
    head = b"WEBPVP8X" + struct.pack("<II", 10, 0) + (width - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 22) + head + (height - 1).to_bytes(3, "little")


def test_size_is_refused_before_a_decoder_sees_the_file() -> None:
    pictures = Pictures(max_pixels=100)
    for data in (canvas(11, 10), encoded(Image.new("RGB", (11, 10)), "AVIF")):
        with pytest.raises(TooManyPixels, match="11 × 10 pixels; at most 100"):
            pictures.picture(data, 8, "crop")


def test_file_that_tells_of_two_sizes_is_damaged() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2 * SIDE, SIDE, 8, 2, 0, 0, 0))
    with pytest.raises(CorruptImage, match="two sizes"):
        decode_image(png(header), 8, "crop", MAX_PIXELS)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {}) for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000")),
        ("TIFF", {"big_tiff": True}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_header_that_is_cut_or_damaged_anywhere_is_told(kind: str, options: dict[str, bool]) -> None:
    data = encoded(Image.new("RGB", (9, 7)), kind, **options)
    for length in range(min(len(data), 700)):
        for rest in (b"", bytes(len(data) - length), b"\xff" * (len(data) - length)):
            with suppress(ServiceError):
                read_header(data[:length] + rest, MAX_PIXELS, 8)


def png_of(pieces: int, filler: bytes = b"") -> bytes:
    rows = zlib.compress(bytes(SIDE * (1 + 3 * SIDE)), 0)
    step = -(-len(rows) // pieces)
    body = b"".join(chunk(b"IDAT", rows[i : i + step]) for i in range(0, len(rows), step))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + filler + body + chunk(b"IEND", b"")


def jpeg_of(filler: bytes) -> bytes:
    data = jpeg()
    return data[:2] + filler + data[2:]


def gif_of(filler: bytes) -> bytes:
    data = encoded(Image.new("P", (8, 8)), "GIF")
    start = 13 + (3 << (data[10] & 7) + 1)
    return data[:start] + filler + data[start:]


def test_files_of_many_parts_as_programs_write_them_are_read() -> None:
    pieces = png_of(8_000, 3 * chunk(b"tEXt", b"Comment\0hello"))
    profile = b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes((i, 255)) + b"x") for i in range(1, 256))
    depth = 500 * segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40))
    comments = gif_of(100 * (b"\x21\xfe" + 40 * (b"\x03abc") + b"\0"))
    fill = jpeg_of(MAX_SEGMENTS * b"\xff")
    for data in (pieces, jpeg_of(profile + depth), fill, comments):
        assert decode_image(data, 8, "crop", MAX_PIXELS).pixels.shape == (8, 8, 3)


BOUNDS: dict[str, tuple[Callable[[], bytes], type[ServiceError]]] = {
    "png-chunks": (lambda: png_of(1, MAX_CHUNKS * chunk(b"teXt", b"")), CorruptImage),
    "jpeg-segments": (lambda: jpeg_of(MAX_SEGMENTS * segment(0xE1, b"")), CorruptImage),
    "jpeg-scans": (lambda: jpeg(progressive=True) + MAX_SCANS * b"\xff\xda", CorruptImage),
    "jpeg-headers": (lambda: jpeg_of(segment(0xC0, struct.pack(">BHHB", 8, 1, 1, 0))), CorruptImage),
    "gif-blocks": (lambda: gif_of(b"\x21\xfe" + MAX_BLOCKS * b"\x01a" + b"\0"), CorruptImage),
    "tiff-strips": (
        lambda: tiff([8], 1, b"", t257=(4, 1, struct.pack("<I", MAX_PLACES + 1)), t278=shorts(1)),
        CorruptImage,
    ),
    "tiff-numbers": (
        lambda: tiff([8], 1, bytes(SIDE * SIDE), t282=(5, MOST_NUMBERS + 1, bytes(8 * MOST_NUMBERS + 8))),
        CorruptImage,
    ),
    "bmp-runs": (
        lambda: b"BM" + struct.pack("<IIIIiiHHI", 0, 0, 54, 40, 8, 8, 1, 8, 1) + bytes(MAX_RUN_BYTES),
        UnsupportedImage,
    ),
    "avif-boxes": (
        lambda: b"\0\0\0\x0cftypavif" + MAX_BOXES * b"\0\0\0\x08free",
        CorruptImage,
    ),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_more_parts_than_any_program_writes_are_refused(name: str) -> None:
    make, error = BOUNDS[name]
    with pytest.raises(error) as refusal:
        decode_image(make(), 8, "crop", MAX_PIXELS)
    assert refusal.value.detail


def test_jpeg_2000_is_decoded_in_a_smaller_resolution() -> None:
    """Pillow holds Python's lock while it decodes one, so that nobody else is served."""
    ramp = Image.linear_gradient("L").resize((2000, 1000)).convert("RGB")
    data = encoded(ramp, "JPEG2000")
    assert read_header(data, MAX_PIXELS, 80).halvings == 3
    assert read_header(data, MAX_PIXELS, None).halvings == 0
    found = decode_image(data, 64, "crop", MAX_PIXELS)
    wanted = decode_image(encoded(ramp, "PNG"), 64, "crop", MAX_PIXELS)
    assert found.source == wanted.source
    assert np.abs(found.pixels.astype(int) - wanted.pixels).max() <= 3


@pytest.mark.parametrize("size", [(1001, 611), (515, 514), (1000, 625)])
def test_jpeg_2000_is_halved_whatever_its_sides(size: tuple[int, int]) -> None:
    ramp = Image.linear_gradient("L").resize(size).convert("RGB")
    data = encoded(ramp, "JPEG2000")
    assert read_header(data, MAX_PIXELS, 80).halvings == 2
    found = decode_image(data, 64, "crop", MAX_PIXELS)
    wanted = decode_image(encoded(ramp, "PNG"), 64, "crop", MAX_PIXELS)
    assert found.source == wanted.source
    assert np.abs(found.pixels.astype(int) - wanted.pixels).max() <= 6


def test_jpeg_2000_without_small_resolutions_is_refused_where_it_is_large() -> None:
    image = Image.new("L", (1200, 1200))
    with pytest.raises(UnsupportedImage, match="send a JPEG"):
        decode_image(encoded(image, "JPEG2000", num_resolutions=1), 64, "crop", MAX_PIXELS)
    decode_image(encoded(image, "JPEG2000", num_resolutions=2), 64, "crop", MAX_PIXELS)

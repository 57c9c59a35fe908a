"""AVIF and HEIC cost what their codecs' own headers say, whatever the file tells."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from PIL import Image

from service.errors import CorruptImage
from service.tokens.frames import MAX_UNITS, frame_pixels
from service.tokens.header import AVIF_BYTES, read_header
from tests.service.photos import encoded

HEIC = Path(__file__).with_name("ramp.heic").read_bytes()
SIZES = ((1, 1), (17, 33), (300, 200), (1024, 768))


def told(data: bytes, width: int, height: int) -> bytes:
    """A file that tells of another size than its codestream's."""
    changed = bytearray(data)
    place = data.index(b"ispe") + 8
    struct.pack_into(">II", changed, place, width, height)
    return bytes(changed)


def item(stream: bytes) -> bytes:
    """An AVIF's place of one item, then the item."""
    place = struct.pack(">HHHHII", 1, 1, 0, 1, 0, len(stream))
    box = struct.pack(">I4sBBHBB", 14 + len(place), b"iloc", 0, 0, 0, 0x44, 0) + place
    file = struct.pack(">I4s4s", 12, b"ftyp", b"avif") + box
    start = len(file) + 8
    return file.replace(struct.pack(">II", 0, len(stream)), struct.pack(">II", start, len(stream))) + (
        struct.pack(">I4s", 8 + len(stream), b"mdat") + stream
    )


@pytest.mark.parametrize("size", SIZES)
def test_frames_of_pictures_have_the_pictures_size(size: tuple[int, int]) -> None:
    for mode in ("RGB", "RGBA"):
        assert frame_pixels(encoded(Image.new(mode, size), "AVIF")) == size[0] * size[1]


def test_frames_of_a_track_have_the_pictures_size() -> None:
    others = [Image.new("RGB", (60, 40), colour) for colour in ("red", "blue")]
    data = encoded(Image.new("RGB", (60, 40)), "AVIF", save_all=True, append_images=others)
    assert data[8:12] == b"avis"
    assert frame_pixels(data) == 60 * 40


def test_frames_of_heic_are_whole_blocks() -> None:
    assert frame_pixels(HEIC) == 64 * 64


@pytest.mark.parametrize(
    ("data", "pixels"), [(encoded(Image.new("RGB", (300, 200)), "AVIF"), 300 * 200), (HEIC, 64 * 64)]
)
def test_a_file_that_tells_of_less_costs_what_its_frames_are(data: bytes, pixels: int) -> None:
    header = read_header(told(data, 2, 2), 1000, None)
    assert (header.width, header.height) == (2, 2)
    assert header.decoded_bytes == pixels * AVIF_BYTES + len(data)


def test_sequence_headers_are_found_behind_other_units() -> None:
    """Padding first, then a header with all that may stand in one; the sizes are its last fields."""
    timing = f"{1:032b}{1:032b}1" + "00101"  # equal intervals of five ticks
    model = f"1{9:05b}{1:032b}{3:05b}{3:05b}"
    points = f"{1:05b}" + 2 * (f"{0:012b}{8:05b}1" + "1" + 21 * "0" + "10101")
    fields = f"000001{timing}{model}1{points}" + f"{9:04b}{8:04b}{1000 - 1:010b}{500 - 1:09b}"
    body = int(fields.ljust(-(-len(fields) // 8) * 8, "0"), 2).to_bytes(-(-len(fields) // 8))
    padding = bytes([15 << 3 | 2, 0x80 | 2, 1]) + bytes(130)
    header = bytes([1 << 3 | 2, len(body)]) + body
    assert frame_pixels(item(padding + header)) == 1000 * 500
    assert frame_pixels(item(padding + header[:1].replace(b"\x0a", b"\x08") + body)) == 1000 * 500


def test_more_units_than_any_program_writes_are_refused() -> None:
    with pytest.raises(CorruptImage, match="save it anew"):
        frame_pixels(item(bytes([15 << 3 | 2, 0]) * (MAX_UNITS + 1)))

"""Untrusted bytes become pixels or one of the service's errors."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageDraw

from service.errors import BadImage, CorruptImage, EmptyImage, TooManyPixels, UnknownImageFormat
from service.tokens.choices import Fit
from service.tokens.pictures import PAD_COLOUR, DecodedImage, Pictures, decode_image
from tests.service.photos import encoded, photo, png_header

MAX_PIXELS = 50_000_000
BOXES = ((0.0, 0.0, 1.0, 1.0), (0.3, 0.2, 0.6, 0.9))
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def decode(data: bytes, side: int = 8, fit: Fit = "stretch") -> DecodedImage:
    return decode_image(data, side, fit, MAX_PIXELS)


def halves(
    width: int, height: int, left: tuple[int, ...] = RED, right: tuple[int, ...] = BLUE
) -> Image.Image:
    """A picture with two colours side by side."""
    picture = Image.new("RGB", (width, height), left)
    picture.paste(right, (width // 2, 0, width, height))
    return picture


def turned(picture: Image.Image, kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encoded(picture, kind, exif=exif)


def close(pixels: NDArray[np.uint8], colour: tuple[int, ...], tolerance: int = 12) -> bool:
    return bool(np.abs(pixels.astype(int) - colour).max() <= tolerance)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_is_read(kind: str) -> None:
    image = decode(encoded(halves(64, 64), kind), side=16)
    assert image.pixels.shape == (16, 16, 3)
    assert image.pixels.dtype == np.uint8
    assert close(image.pixels[:, :6], RED, 40)
    assert close(image.pixels[:, 10:], BLUE, 40)


# Where the red left half of the stored picture is, once the picture stands upright (EXIF 2.32, table 6).
UPRIGHT = {
    1: "left",
    2: "right",
    3: "right",
    4: "left",
    5: "top",
    6: "top",
    7: "bottom",
    8: "bottom",
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    image = decode(turned(halves(96, 64), kind, orientation), side=16)
    sides: dict[str, Any] = {
        "left": np.s_[:, :6],
        "right": np.s_[:, 10:],
        "top": np.s_[:6],
        "bottom": np.s_[10:],
    }
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
    place = UPRIGHT[orientation]
    assert close(image.pixels[sides[place]], RED, 60)
    assert close(image.pixels[sides[opposite[place]]], BLUE, 60)
    upright = (96, 64) if place in ("left", "right") else (64, 96)
    assert (image.source.width, image.source.height) == upright


def test_large_jpeg_that_lies_on_its_side_reports_upright_pixels() -> None:
    """It is decoded at an eighth of its size; the rectangle is in pixels of the whole."""
    image = decode(turned(halves(1600, 800), "JPEG", 6), side=8, fit="crop")
    assert (image.source.width, image.source.height) == (800, 1600)
    assert image.source.rectangle == (0, 400, 800, 1200)
    assert close(image.pixels[:3], RED, 60)
    assert close(image.pixels[5:], BLUE, 60)


def test_jpeg_decoded_at_reduced_size_looks_like_the_whole() -> None:
    data = photo("astronaut")
    small = Image.open(io.BytesIO(data)).convert("RGB").resize((24, 24), Image.Resampling.BICUBIC)
    difference = decode(data, side=24).pixels.astype(float) - np.asarray(small)
    assert np.abs(difference).mean() < 4


def test_crop_takes_the_middle() -> None:
    picture = Image.new("RGB", (40, 20), BLUE)
    picture.paste(RED, (10, 0, 30, 20))
    image = decode(encoded(picture), fit="crop")
    assert close(image.pixels[:, 1:7], RED)
    assert image.source.rectangle == (10, 0, 30, 20)


def test_stretch_takes_everything() -> None:
    image = decode(encoded(halves(40, 20)), fit="stretch")
    assert close(image.pixels[:, :3], RED)
    assert close(image.pixels[:, 5:], BLUE)
    assert image.source.rectangle == (0, 0, 40, 20)


@pytest.mark.parametrize(
    ("size", "rectangle", "border", "inside"),
    [
        ((40, 20), (0, -10, 40, 30), np.s_[[0, 1, 6, 7]], np.s_[2:6]),
        ((20, 40), (-10, 0, 30, 40), np.s_[:, [0, 1, 6, 7]], np.s_[:, 2:6]),
    ],
)
def test_pad_adds_borders_and_reports_them(
    size: tuple[int, int],
    rectangle: tuple[float, ...],
    border: tuple[slice, ...],
    inside: tuple[slice, ...],
) -> None:
    image = decode(encoded(Image.new("RGB", size, GREEN)), fit="pad")
    assert close(image.pixels[border], PAD_COLOUR, 0)
    assert close(image.pixels[inside], GREEN)
    assert image.source.rectangle == rectangle


@pytest.mark.parametrize(
    ("size", "fit", "rectangle"),
    [
        ((24, 16), "crop", (10, 0, 50, 60)),
        ((16, 32), "crop", (0, 15, 60, 45)),
        ((24, 16), "pad", (0, -15, 60, 75)),
        ((16, 32), "pad", (-30, 0, 90, 60)),
    ],
)
def test_a_disc_is_round_whatever_the_model_s_shape_and_lies_where_it_was(
    size: tuple[int, int], fit: Fit, rectangle: tuple[float, ...]
) -> None:
    picture = Image.new("RGB", (60, 60), RED)
    ImageDraw.Draw(picture).ellipse((20, 18, 38, 36), BLUE)
    image = decode_image(encoded(picture), size, fit, MAX_PIXELS)
    assert image.pixels.shape == (*size, 3)
    assert image.source.rectangle == rectangle
    left, top, _, bottom = rectangle
    rows, columns = np.nonzero(image.pixels[..., 2] > 160)
    scale = size[0] / (bottom - top)
    for places, start, middle in ((rows, top, 27.5), (columns, left, 29.5)):
        assert np.ptp(places) + 1 == pytest.approx(19 * scale, abs=1.2)
        assert places.mean() + 0.5 == pytest.approx((middle - start) * scale, abs=0.3)


def test_a_large_jpeg_is_decoded_large_enough_for_the_model_s_longer_side() -> None:
    noise = Image.effect_noise((700, 1400), 90).convert("RGB")
    for orientation in (1, 6):
        stored = noise.transpose(Image.Transpose.ROTATE_90) if orientation == 6 else noise
        seen = decode_image(turned(stored, "JPEG", orientation), (48, 96), "crop", MAX_PIXELS).pixels
        plain = np.asarray(noise.resize((96, 48), Image.Resampling.BICUBIC, (0, 525, 700, 875)))
        assert np.abs(seen.astype(int) - plain).mean() < 3.5


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_box_is_the_picture_that_is_seen(fit: Fit, orientation: int) -> None:
    """The same, but for what filters take from beyond its edge, as of a picture that holds no more."""
    with Image.open(io.BytesIO(photo("coffee"))) as whole:
        upright = whole.convert("RGB").resize((400, 300))
    box, inside = (0.25, 0.1, 0.5, 0.9), (100, 30, 200, 270)
    stored = upright.transpose(Image.Transpose.ROTATE_90) if orientation == 6 else upright
    image = decode_image(turned(stored, "PNG", orientation), 48, fit, MAX_PIXELS, box)
    alone = decode(encoded(upright.crop(inside)), 48, fit)
    assert np.abs(image.pixels.astype(int) - alone.pixels)[2:-2, 2:-2].mean() < 1
    assert (image.source.width, image.source.height, image.source.box) == (400, 300, inside)
    moved = np.subtract(image.source.rectangle, alone.source.rectangle)
    assert moved.tolist() == [100, 30, 100, 30]
    if fit == "pad":
        assert close(image.pixels[:, :13], PAD_COLOUR, 0)


def test_box_of_a_large_photo_keeps_its_detail_and_its_cost_is_told() -> None:
    """A JPEG is decoded as large as the part needs, no larger."""
    noise = Image.effect_noise((2400, 1600), 90).convert("RGB")
    data = encoded(noise, "JPEG", quality=95)
    pictures, box = Pictures(max_pixels=MAX_PIXELS), (0.5, 0.5, 0.54, 0.56)
    part, whole = pictures.picture(data, 96, "crop", box), pictures.picture(data, 96, "crop")
    part.arrays()
    alone = np.asarray(noise.crop((1200, 800, 1296, 896))).astype(int)
    assert np.abs(part.decoded.pixels - alone).mean() < 8
    assert part.cost > 3 * 2400 * 1600
    assert whole.cost < part.cost / 3


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (3, 2)])
@pytest.mark.parametrize("box", [(0, 0, 5e-324, 5e-324), (1 - 2**-53, 0, 1, 1e-9), (0.4, 0.4, 0.6, 0.6)])
def test_box_has_a_pixel_at_least(size: tuple[int, int], box: tuple[float, float, float, float]) -> None:
    for kind in ("PNG", "JPEG", "JPEG2000"):
        image = decode_image(encoded(Image.new("RGB", size, RED), kind), 8, "crop", MAX_PIXELS, box)
        assert close(image.pixels, RED)
        left, top, right, bottom = image.source.box
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (3, 2)])
def test_extreme_sizes_are_read(size: tuple[int, int], fit: Fit) -> None:
    for kind in ("PNG", "JPEG"):
        image = decode(encoded(Image.new("RGB", size, RED), kind), fit=fit)
        assert image.pixels.shape == (8, 8, 3)


def test_transparent_parts_become_white() -> None:
    picture = Image.new("RGBA", (16, 16), (*RED, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 8, 16))
    for kind in ("PNG", "WEBP"):
        image = decode(encoded(picture, kind, **({"lossless": True} if kind == "WEBP" else {})), side=16)
        assert close(image.pixels[:, :7], WHITE, 4)
        assert close(image.pixels[:, 9:], RED, 4)


def test_half_transparent_black_is_mid_grey() -> None:
    assert close(decode(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 128)))).pixels, (127, 127, 127), 1)


def test_grey_with_alpha_lies_on_white() -> None:
    assert close(decode(encoded(Image.new("LA", (8, 8), (0, 0)))).pixels, WHITE, 0)


def test_palette_is_read() -> None:
    picture = halves(16, 16).quantize(2)
    image = decode(encoded(picture), side=16)
    assert close(image.pixels[:, :7], RED)
    assert close(image.pixels[:, 9:], BLUE)


def test_transparent_palette_entry_is_white() -> None:
    picture = halves(16, 16).quantize(2)
    red = picture.getpixel((0, 0))
    image = decode(encoded(picture, transparency=red), side=16)
    assert close(image.pixels[:, :7], WHITE)
    assert close(image.pixels[:, 9:], BLUE)


def test_cmyk_is_read() -> None:
    """Full magenta and yellow ink without any other print red."""
    for kind in ("JPEG", "TIFF"):
        image = decode(encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), kind))
        assert close(image.pixels, RED)


def test_grey_is_read() -> None:
    assert close(decode(encoded(Image.new("L", (8, 8), 77))).pixels, (77, 77, 77), 0)


def test_black_and_white_is_read() -> None:
    assert close(decode(encoded(Image.new("1", (8, 8), 1), "TIFF")).pixels, WHITE, 0)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    values = np.full((8, 8), 100 * 257, np.uint16)
    assert close(decode(encoded(Image.fromarray(values), kind)).pixels, (100, 100, 100), 0)


def test_first_frame_of_an_animation_is_read() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (GREEN, RED, BLUE)]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert close(decode(data).pixels, GREEN, 40), kind


@pytest.mark.parametrize("size", [(10_000, 6_000), (60_000, 60_000)])
def test_decompression_bomb_is_refused_from_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(TooManyPixels):
        decode(png_header(*size))


def test_pixel_limit_is_inclusive() -> None:
    data = encoded(Image.new("RGB", (10, 10)))
    assert decode_image(data, 8, "crop", 100).source.width == 10
    with pytest.raises(TooManyPixels, match="10 × 10 pixels; at most 99"):
        decode_image(data, 8, "crop", 99)


def test_empty_bytes_are_refused() -> None:
    with pytest.raises(EmptyImage):
        decode(b"")


@pytest.mark.parametrize(
    "data", [b"\0", b"hello, world", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7\n", b"\xff\xd8"]
)
def test_other_bytes_are_no_image(data: bytes) -> None:
    with pytest.raises(UnknownImageFormat, match="JPEG, PNG, WEBP, GIF, BMP, TIFF"):
        decode(data)


def test_formats_beyond_the_list_are_not_opened() -> None:
    """EPS would start another program, ICO and PPM are just not promised."""
    for kind in ("EPS", "ICO", "PPM"):
        with pytest.raises(UnknownImageFormat):
            decode(encoded(Image.new("RGB", (16, 16)), kind))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_truncated_image_is_refused(kind: str) -> None:
    data = photo("chelsea", kind)
    with pytest.raises(CorruptImage):
        decode(data[: len(data) // 2], side=96)


def test_damaged_png_data_is_refused() -> None:
    data = bytearray(photo("coffee", "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(CorruptImage):
        decode(bytes(data), side=96)


def mutated(data: bytes, source: random.Random) -> bytes:
    """Some bytes changed, mostly in the header, or the end cut off, or a piece repeated or removed."""
    out = bytearray(data)
    for _ in range(source.randint(1, 8)):
        reach = len(out) if source.random() < 0.3 else min(len(out), 120)
        place = source.randrange(reach)
        match source.randrange(5):
            case 0:
                out[place] = source.randrange(256)
            case 1:
                out[place] ^= 1 << source.randrange(8)
            case 2:
                out[place : place + 4] = source.choice(
                    [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0"]
                )
            case 3:
                out[place:place] = out[place : place + source.randint(1, 30)]
            case _:
                del out[place : place + source.randint(1, 30)]
        if len(out) < 2:
            break
    return bytes(out[: source.randrange(len(out))] if source.random() < 0.1 else out)


def seeds() -> list[bytes]:
    picture = Image.open(io.BytesIO(photo("astronaut", "PNG"))).convert("RGB").resize((40, 30))
    frames = [picture, picture.rotate(90)]
    grey = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50)
    return [
        *(encoded(picture, kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")),
        *(turned(picture, kind, 6) for kind in ("JPEG", "PNG", "WEBP", "TIFF")),
        *(encoded(picture.convert("CMYK"), kind) for kind in ("JPEG", "TIFF")),
        *(encoded(picture.convert("RGBA"), kind) for kind in ("PNG", "WEBP")),
        *(encoded(picture.quantize(16), kind) for kind in ("PNG", "GIF", "BMP", "TIFF")),
        *(
            encoded(frames[0], k, save_all=True, append_images=frames[1:])
            for k in ("GIF", "WEBP", "TIFF", "PNG")
        ),
        *(encoded(grey, kind) for kind in ("PNG", "TIFF")),
        *(
            encoded(picture, "TIFF", compression=c)
            for c in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
        ),
        encoded(picture, "JPEG", progressive=True),
        encoded(picture.convert("1"), "TIFF", compression="group4"),
    ]


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damage that it can live with
def test_mutated_images_give_pixels_or_the_service_s_errors() -> None:
    source = random.Random(7)
    originals = seeds()
    refused = 0
    for i in range(2000):
        data = mutated(originals[i % len(originals)], source)
        try:
            box = source.choice(BOXES)
            image = decode_image(data, 16, source.choice(("crop", "stretch", "pad")), 1_000_000, box)
        except BadImage:
            refused += 1
        else:
            assert image.pixels.shape == (16, 16, 3)
            assert image.pixels.dtype == np.uint8
    assert 200 < refused < 1900


def test_picture_gives_what_a_plain_call_gives() -> None:
    for name in ("astronaut", "chelsea", "coffee"):
        picture = Pictures(max_pixels=MAX_PIXELS).picture(photo(name), 32, "crop")
        plain = decode(photo(name), 32, "crop")
        assert (picture.arrays()["image"] == plain.pixels).all()
        assert picture.decoded.source == plain.source
        assert 0 < picture.began < picture.ended

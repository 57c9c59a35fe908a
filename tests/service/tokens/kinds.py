"""Picture files of every kind that people have, each with the pixels that are meant.

What is written is a smooth ramp of colours, `RAMP`, or its red channel for grey. What a kind must give is
computed from these numbers; no decoder of pictures is asked.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from tests.service.tokens.files import (
    bmp_with_masks,
    chunk,
    colour_map,
    encoded,
    exif,
    grey,
    jpeg,
    packed,
    picture,
    planar,
    png,
    shorts,
    signed,
    text,
    tiff,
    transparent,
    with_segment,
    written,
)
from tests.service.tokens.profiles import (
    INKS,
    P3_TO_XYZ,
    XYZ_TO_SRGB,
    display_p3,
    inks,
    lab_in_srgb,
    linear,
    linear_grey,
    unlinear,
)
from tests.service.tokens.values import COVER, GREY, RAMP, SIDE, STRIPES, TURNED, Values, X, levels

EXACT, CODED = 1.5, 12.0
"""Levels of 255 that a pixel may be off: where values are only rounded, and after a lossy codec."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file."""

    name: str
    suffix: str
    before: str
    """What the service made of it once: an error's code, or the levels (of 255) that pixels were off by."""
    make: Callable[[], bytes]
    pixels: Values | None = None
    """(H, W, 3) in [0, 1]; None for what is refused."""
    error: str | None = None
    """The code of the error."""
    reference: str
    """Where the pixels are from."""
    tolerance: float = EXACT


def printed() -> bytes:
    """Cyan left, magenta right."""
    plates = np.zeros((SIDE, SIDE, 4), np.uint8)
    plates[:, : SIDE // 2, 0] = plates[:, SIDE // 2 :, 1] = 255
    image = Image.frombytes("CMYK", (SIDE, SIDE), plates.tobytes())
    return encoded(image, "TIFF", icc_profile=inks())


CYAN, MAGENTA = (lab_in_srgb(*INKS[ink]) for ink in ((1, 0, 0, 0), (0, 1, 0, 0)))
PRINTED = np.where(X[..., None] < 0.5, CYAN, MAGENTA)
MUTED: Values = 0.35 + 0.3 * RAMP
"""Colours of Display P3 that sRGB has, too."""
MUTED_IN_SRGB = unlinear(linear(MUTED) @ P3_TO_XYZ.T @ XYZ_TO_SRGB.T)
ON_WHITE = RAMP * COVER + 1 - COVER
GREY_ON_WHITE = GREY * COVER + 1 - COVER
INVERSE = 1 - GREY
CLEARED: Values = np.repeat(STRIPES, 3, -1)
"""Black where `STRIPES` are 0, and white in between."""
WRITTEN, STRAIGHT = "the numbers that were written", "the picture before it was encoded"
FORMULA = "the formula of the profile"
COMPRESSED_ZEROS = zlib.compress(bytes(1_600_000))


INDEXED = np.rint(GREY * 255) / 255
MAPPED: Values = np.concatenate([INDEXED, 1 - INDEXED, np.full_like(INDEXED, 128 / 255)], -1)


def of_exif(name: str, before: str, **odd: tuple[int, int, bytes]) -> Kind:
    return Kind(
        name=f"exif-{name}",
        suffix=".jpg",
        before=before,
        make=lambda: jpeg(TURNED, exif=exif(**odd)),
        pixels=RAMP,
        reference=STRAIGHT,
        tolerance=CODED,
    )


def of_tiff(name: str, before: str, make: Callable[[], bytes], pixels: Values = RAMP) -> Kind:
    return Kind(
        name=f"tiff-{name}", suffix=".tif", before=before, make=make, pixels=pixels, reference=WRITTEN
    )


def of_png(name: str, before: str, make: Callable[[], bytes], pixels: Values = RAMP) -> Kind:
    return Kind(name=f"png-{name}", suffix=".png", before=before, make=make, pixels=pixels, reference=WRITTEN)


def of_jpeg(name: str, before: str, make: Callable[[], bytes], suffix: str = ".jpg") -> Kind:
    return Kind(
        name=f"jpeg-{name}",
        suffix=suffix,
        before=before,
        make=make,
        pixels=RAMP,
        reference=STRAIGHT,
        tolerance=CODED,
    )


def of_format(name: str, suffix: str, before: str, make: Callable[[], bytes], pixels: Values = RAMP) -> Kind:
    return Kind(
        name=name,
        suffix=suffix,
        before=before,
        make=make,
        pixels=pixels,
        reference=STRAIGHT,
        tolerance=CODED,
    )


def refused(name: str, suffix: str, before: str, make: Callable[[], bytes], error: str) -> Kind:
    return Kind(name=name, suffix=suffix, before=before, make=make, error=error, reference="none")


HEIC = (Path(__file__).parent / "ramp.heic").read_bytes
"""`RAMP` by libheif and x265: `python -m tests.service.tokens.kinds`, with pillow-heif, writes it anew."""

SHORT_CHUNKS = {
    "gAMA": "corrupt_image",
    "cHRM": "corrupt_image",
    "pHYs": "corrupt_image",
    "sRGB": "0 levels",
    "tIME": "0 levels",
    "iCCP": "unknown_image_format",
    "tRNS": "corrupt_image",
    "bKGD": "0 levels",
    "sBIT": "0 levels",
}
TRANSPARENT_GREYS = {2: "170 levels", 4: "187 levels", 8: "0 levels", 16: "191 levels"}

KINDS = [
    of_exif(
        "sound",
        "3 levels",
    ),
    of_exif("text-is-rational", "internal_error", t270=(5, 1, struct.pack("<2I", 1, 2))),
    of_exif("negative-rational", "corrupt_image", t282=(10, 1, signed(-72, 1))),
    of_exif("resolution-undefined", "corrupt_image", t282=(7, 8, bytes(8))),
    of_exif("long-in-short", "corrupt_image", t274=(4, 1, signed(6)), t296=(4, 1, signed(70000))),
    of_exif("text-in-short", "3 levels", t296=text(b"inch\0")),
    of_exif("bytes-in-rational", "corrupt_image", t282=(1, 2, b"\7\0")),
    of_jpeg("exif-is-junk", "3 levels", lambda: jpeg(exif=b"Exif\0\0junkjunkjunk")),
    of_png("exif-is-junk", "corrupt_image", lambda: png(chunk(b"eXIf", b"junkjunk"))),
    of_png(
        "exif-behind-the-pixels", "0 levels", lambda: png(values=TURNED, after=chunk(b"eXIf", exif()[6:]))
    ),
    of_tiff(
        "turned-with-odd-tags",
        "0 levels",
        lambda: tiff(
            [8] * 3,
            2,
            levels(TURNED, "u1").tobytes(),
            t274=shorts(6),
            t270=(5, 1, signed(1, 2)),
            t282=(10, 1, signed(-1, 1)),
        ),
    ),
    of_tiff("grey-16-white-is-zero", "204 levels", lambda: grey(levels(GREY, "u2"), "miniswhite"), INVERSE),
    of_tiff("grey-16-big-endian", "0 levels", lambda: grey(levels(GREY, "u2"), byteorder=">"), GREY),
    of_tiff(
        "grey-16-alpha",
        "unknown_image_format",
        lambda: grey(levels(np.concatenate([GREY, COVER], -1), "u2"), extrasamples=["unassalpha"]),
        GREY_ON_WHITE,
    ),
    of_tiff(
        "grey-12",
        "216 levels",
        lambda: tiff([12], 1, packed(np.rint(GREY * 4095).astype(np.uint16), 12)),
        GREY,
    ),
    of_tiff(
        "grey-14",
        "unknown_image_format",
        lambda: tiff([14], 1, packed(np.rint(GREY * 16383).astype(np.uint16), 14)),
        GREY,
    ),
    of_tiff(
        "grey-8-premultiplied",
        "corrupt_image",
        lambda: grey(levels(np.concatenate([GREY * COVER, COVER], -1), "u1"), extrasamples=["assocalpha"]),
        GREY_ON_WHITE,
    ),
    of_tiff("int8", "128 levels", lambda: grey(levels(GREY, "i1")), GREY),
    of_tiff("int16", "128 levels", lambda: grey(levels(GREY, "i2")), GREY),
    of_tiff("int32", "126 levels", lambda: grey(levels(GREY, "i4")), GREY),
    of_tiff("uint32", "230 levels", lambda: grey(levels(GREY, "u4")), GREY),
    of_tiff("uint32-of-16-bits", "0 levels", lambda: grey(levels(GREY, "u2").astype("u4")), GREY),
    of_tiff("float-to-1", "230 levels", lambda: grey(GREY.astype("f4")), GREY),
    of_tiff("float-to-255", "228 levels", lambda: grey((255 * GREY).astype("f4")), GREY),
    of_tiff("float-white-is-zero", "230 levels", lambda: grey(GREY.astype("f4"), "miniswhite"), INVERSE),
    of_tiff("float16", "unknown_image_format", lambda: grey(GREY.astype("f2")), GREY),
    of_tiff("float64-rgb", "unknown_image_format", lambda: written(RAMP, photometric="rgb")),
    of_tiff("rgb-16", "1 levels", lambda: written(levels(RAMP, "u2"), photometric="rgb")),
    of_tiff("rgb-16-planar", "202 levels", lambda: planar(RAMP, "u2", "rgb")),
    of_tiff(
        "rgb-16-planar-tiles",
        "1 levels",
        lambda: planar(RAMP, "u2", "rgb", tile=(16, 48), compression="zlib", predictor=True),
    ),
    of_tiff(
        "rgb-16-big-endian-bigtiff",
        "unknown_image_format",
        lambda: written(levels(RAMP, "u2"), photometric="rgb", bigtiff=True, byteorder=">"),
    ),
    of_tiff("rgb-32", "unknown_image_format", lambda: written(levels(RAMP, "u4"), photometric="rgb")),
    of_tiff(
        "rgba-8-planar",
        "1 levels",
        lambda: planar(np.concatenate([RAMP, COVER], -1), "u1", "rgb", extrasamples=["unassalpha"]),
        ON_WHITE,
    ),
    of_tiff(
        "rgba-16-planar",
        "231 levels",
        lambda: planar(np.concatenate([RAMP, COVER], -1), "u2", "rgb", extrasamples=["unassalpha"]),
        ON_WHITE,
    ),
    of_tiff(
        "rgba-16-premultiplied",
        "1 levels",
        lambda: written(
            levels(np.concatenate([RAMP * COVER, COVER], -1), "u2"),
            photometric="rgb",
            extrasamples=["assocalpha"],
        ),
        ON_WHITE,
    ),
    of_tiff(
        "cmyk-16-planar",
        "202 levels",
        lambda: planar(np.concatenate([1 - RAMP, 0 * GREY], -1), "u2", "separated"),
    ),
    of_tiff(
        "palette",
        "0 levels",
        lambda: tiff([8], 3, levels(GREY, "u1").tobytes(), t320=colour_map(257)),
        MAPPED,
    ),
    of_tiff(
        "palette-of-8-bits",
        "230 levels",
        lambda: tiff([8], 3, levels(GREY, "u1").tobytes(), t320=colour_map(1)),
        MAPPED,
    ),
    of_tiff(
        "lab-8",
        "12 levels",
        lambda: tiff([8] * 3, 8, np.tile(np.array([153, 236, 226], np.uint8), (SIDE, SIDE, 1)).tobytes()),
        np.tile(lab_in_srgb(60, -20, -30), (SIDE, SIDE, 1)),
    ),
    refused(
        "tiff-camera-raw",
        ".tif",
        "unknown_image_format",
        lambda: tiff([16], 32803, levels(GREY, "u2").tobytes()),
        "unsupported_image",
    ),
    refused(
        "tiff-two-depths",
        ".tif",
        "unknown_image_format",
        lambda: tiff([5, 6, 5], 2, bytes(SIDE * SIDE * 2)),
        "unsupported_image",
    ),
    refused("bmp-masks-of-10-bits", ".bmp", "corrupt_image", bmp_with_masks, "unsupported_image"),
    of_png("text-of-1.6-MB", "corrupt_image", lambda: png(chunk(b"zTXt", b"Comment\0\0" + COMPRESSED_ZEROS))),
    of_png(
        "itxt-of-1.6-MB",
        "corrupt_image",
        lambda: png(chunk(b"iTXt", b"Comment\0\1\0\0\0" + COMPRESSED_ZEROS)),
    ),
    of_png(
        "plain-text-of-70-MB-in-all",
        "corrupt_image",
        lambda: png(8 * chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(9_000_000)))),
    ),
    of_png("profile-of-1.6-MB", "corrupt_image", lambda: png(chunk(b"iCCP", b"name\0\0" + COMPRESSED_ZEROS))),
    of_png(
        "text-behind-the-pixels",
        "corrupt_image",
        lambda: png(after=chunk(b"zTXt", b"Comment\0\0" + COMPRESSED_ZEROS)),
    ),
    of_png(
        "text-with-a-wrong-crc",
        "unknown_image_format",
        lambda: png(chunk(b"tEXt", b"Comment\0hello", sound=False)),
    ),
    of_png(
        "profile-with-a-wrong-crc",
        "unknown_image_format",
        lambda: png(chunk(b"iCCP", b"name\0\0" + zlib.compress(display_p3()), sound=False)),
    ),
    *(
        of_png(f"short-{name}", before, partial(png, chunk(name.encode(), b"\0")))
        for name, before in SHORT_CHUNKS.items()
    ),
    *(
        of_png(f"grey-{depth}-with-a-transparent-value", before, partial(transparent, depth), CLEARED)
        for depth, before in TRANSPARENT_GREYS.items()
    ),
    of_png(
        "rgb-16-with-a-transparent-colour",
        "255 levels",
        lambda: png(chunk(b"tRNS", b"\x40\0\0\0\0\0"), STRIPES * (0x4000 / 0xFFFF, 0, 0), depth=16),
        CLEARED,
    ),
    of_png("grey-16", "0 levels", lambda: png(values=GREY, depth=16, colour=0), GREY),
    of_png(
        "hidden-colours",
        "0 levels",
        lambda: png(values=np.concatenate([RAMP, np.where(COVER == 1, 1.0, 0.0)], -1), colour=6),
        np.where(COVER == 1, RAMP, 1.0),
    ),
    of_jpeg("short-jfif", "unknown_image_format", lambda: with_segment(0xE0, b"JFIF\0\1")),
    of_jpeg("short-adobe", "unknown_image_format", lambda: with_segment(0xEE, b"Adobe\0")),
    of_jpeg("short-profile", "unknown_image_format", lambda: with_segment(0xE2, b"ICC_PROFILE\0")),
    of_jpeg("short-photoshop", "3 levels", lambda: with_segment(0xED, b"Photoshop 3.0\x008BIM\4")),
    of_jpeg("short-list-of-pictures", "3 levels", lambda: with_segment(0xE2, b"MPF\0II*\0")),
    of_jpeg("without-its-end", "corrupt_image", lambda: jpeg()[:-2]),
    of_jpeg("without-half-its-end", "corrupt_image", lambda: jpeg()[:-1], ".jfif"),
    of_jpeg("progressive-without-its-end", "corrupt_image", lambda: jpeg(progressive=True)[:-2], ".jpe"),
    of_jpeg("with-restarts-without-its-end", "corrupt_image", lambda: jpeg(restart_marker_rows=1)[:-2]),
    refused(
        "jpeg-without-its-last-row",
        ".jpg",
        "corrupt_image",
        lambda: jpeg(restart_marker_rows=1).rpartition(b"\xff\xd6")[0],
        "corrupt_image",
    ),
    refused("jpeg-cut-in-its-last-row", ".jpg", "corrupt_image", lambda: jpeg()[:-40], "corrupt_image"),
    refused(
        "jpeg-progressive-cut", ".jpg", "corrupt_image", lambda: jpeg(progressive=True)[:-40], "corrupt_image"
    ),
    Kind(
        name="profile-display-p3",
        suffix=".png",
        before="23 levels",
        make=lambda: png(chunk(b"iCCP", b"p3\0\0" + zlib.compress(display_p3())), MUTED),
        pixels=MUTED_IN_SRGB,
        reference=FORMULA,
        tolerance=3,
    ),
    Kind(
        name="profile-linear-grey",
        suffix=".jpg",
        before="74 levels",
        make=lambda: jpeg(GREY, icc_profile=linear_grey()),
        pixels=unlinear(GREY),
        reference=FORMULA,
        tolerance=CODED,
    ),
    Kind(
        name="profile-print",
        suffix=".tif",
        before="134 levels",
        make=printed,
        pixels=PRINTED,
        reference=FORMULA,
        tolerance=3,
    ),
    of_jpeg("profile-is-junk", "3 levels", lambda: jpeg(icc_profile=b"junk" * 50)),
    of_jpeg(
        "cmyk",
        "1 levels",
        lambda: encoded(
            Image.merge("CMYK", [*picture(1 - RAMP).split(), Image.new("L", (SIDE, SIDE))]),
            "JPEG",
            quality=95,
        ),
    ),
    of_jpeg(
        "of-two-pictures",
        "3 levels",
        lambda: encoded(
            picture(RAMP), "MPO", save_all=True, append_images=[picture(1 - RAMP)], quality=95, subsampling=0
        ),
        ".mpo",
    ),
    of_format("gif", ".gif", "0 levels", lambda: encoded(picture(GREY), "GIF"), GREY),
    of_format("webp", ".webp", "0 levels", lambda: encoded(picture(RAMP), "WEBP", lossless=True)),
    of_format("avif", ".avif", "unknown_image_format", lambda: encoded(picture(RAMP), "AVIF", quality=95)),
    of_format("jpeg-2000", ".jp2", "unknown_image_format", lambda: encoded(picture(RAMP), "JPEG2000")),
    of_format(
        "jpeg-2000-grey-16",
        ".jp2",
        "unknown_image_format",
        lambda: encoded(Image.fromarray(levels(GREY, "u2")[..., 0]), "JPEG2000"),
        GREY,
    ),
    of_format(
        "avif-turned",
        ".avif",
        "unknown_image_format",
        lambda: encoded(picture(TURNED), "AVIF", quality=95, exif=exif()[6:]),
    ),
    of_format("heic", ".heic", "unknown_image_format", HEIC),
]

if __name__ == "__main__":
    import pillow_heif  # type: ignore[import-not-found] # it encodes; the service only decodes

    pillow_heif.register_heif_opener()
    (Path(__file__).parent / "ramp.heic").write_bytes(encoded(picture(RAMP), "HEIF", quality=90, chroma=444))

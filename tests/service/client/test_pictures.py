"""What the client sends of a picture is what the same picture's file is to the service."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.client import StellarClient, StellarError
from service.client.pictures import encoded as sent
from service.errors import ServiceError
from service.tokens.pictures import decode_image
from tests.service.photos import encoded, photo
from tests.service.tokens.files import jpeg
from tests.service.tokens.kinds import KINDS, Kind
from tests.service.tokens.values import GREY, SIDE, levels


def seen(data: bytes) -> NDArray[np.uint8]:
    return decode_image(data, SIDE, "stretch", SIDE**2).pixels


def opened(kind: Kind) -> Image.Image | None:
    """The picture as Pillow has it before anything is decoded; None where it can't even be opened."""
    try:
        return Image.open(io.BytesIO(kind.make()))
    except (OSError, ValueError, Warning):
        return None


OPENED = [kind for kind in KINDS if opened(kind) is not None]


@pytest.mark.parametrize("kind", OPENED, ids=lambda kind: kind.name)
def test_a_picture_that_is_only_opened_is_what_its_file_is(kind: Kind) -> None:
    image = opened(kind)
    assert image is not None
    if kind.error is not None:
        with pytest.raises((StellarError, ServiceError)) as refusal:
            seen(sent(image))
        assert isinstance(refusal.value, StellarError | ServiceError)
        assert refusal.value.code == kind.error
        return
    np.testing.assert_array_equal(seen(sent(image)), seen(kind.make()))


@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (Image.fromarray(levels(GREY, "u2").squeeze()), "I;16"),
        (Image.fromarray(levels(GREY, "u2").squeeze().astype(">u2")), "I;16B"),
        (Image.fromarray(levels(GREY, "u2").squeeze().astype("i4")), "I"),
        (Image.fromarray(levels(GREY, "i2").squeeze().astype("i4")), "I"),
        (Image.fromarray(GREY.squeeze().astype("f4")), "F"),
        (Image.fromarray(255 * GREY.squeeze().astype("f4")), "F"),
    ],
)
def test_greys_of_many_bits_are_what_their_files_are(image: Image.Image, mode: str) -> None:
    assert image.mode == mode
    pixels = seen(sent(image))
    np.testing.assert_array_equal(pixels, seen(encoded(image, "TIFF")))
    assert np.abs(pixels - 255 * GREY).max() <= 1


def test_a_picture_with_odd_exif_is_sent_upright() -> None:
    for kind in KINDS:
        if kind.name.startswith("exif-"):
            image = Image.open(io.BytesIO(kind.make()))
            image.load()
            np.testing.assert_array_equal(seen(sent(image)), seen(kind.make()))


def test_a_stream_goes_on_behind_pictures_that_can_not_be_decoded(
    stellar: StellarClient, tmp_path: Path
) -> None:
    broken = {f"cut.{kind}": photo("rocket", kind)[:2000] for kind in ("JPEG", "GIF", "PNG")}
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
    file = io.BytesIO(jpeg())
    gone = Image.open(file)
    file.close()
    images = [*(Image.open(tmp_path / name) for name in broken), gone, Image.open(io.BytesIO(jpeg()))]
    results = list(stellar.embed_all(images))
    for image in images:
        image.close()
    assert [result.error and result.error.code for result in results] == [
        "corrupt_image",
        "corrupt_image",
        "corrupt_image",
        "unreadable_file",
        None,
    ]

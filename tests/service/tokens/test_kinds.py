"""Every kind of file gives the pixels that are meant, or an error that says what it is."""

from __future__ import annotations

import numpy as np
import pytest

from service.errors import BadImage
from service.tokens.pictures import SUFFIXES, decode_image
from tests.service.tokens.files import bmp_with_masks, tiff
from tests.service.tokens.kinds import KINDS, Kind
from tests.service.tokens.values import SIDE

READ, REFUSED = ([kind for kind in KINDS if (kind.error is None) is read] for read in (True, False))


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.name)
def test_a_kind_has_the_pixels_that_are_meant(kind: Kind) -> None:
    assert kind.pixels is not None
    pixels = decode_image(kind.make(), SIDE, "stretch", SIDE**2).pixels
    assert np.abs(pixels - 255 * kind.pixels).max() <= kind.tolerance


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.name)
def test_a_kind_is_refused_by_its_name(kind: Kind) -> None:
    with pytest.raises(BadImage) as refusal:
        decode_image(kind.make(), SIDE, "stretch", SIDE**2)
    assert refusal.value.code == kind.error


def test_what_is_not_read_is_named() -> None:
    raw = tiff([16], 32803, bytes(2 * SIDE * SIDE))
    for data, name in (
        (raw, r"This kind of TIFF \(camera raw, 1 × 16 bits, compression none\) is not read: save it as PNG"),
        (bmp_with_masks(), r"This kind of BMP \(32 bits, compression 3, mask 3FF00000, .*\) is not read"),
    ):
        with pytest.raises(BadImage, match=name):
            decode_image(data, SIDE, "stretch", SIDE**2)


def test_every_kind_s_suffix_is_a_picture_s() -> None:
    assert {kind.suffix for kind in KINDS} <= SUFFIXES

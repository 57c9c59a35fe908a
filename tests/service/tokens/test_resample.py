"""What is resampled is what Pillow makes of it, but for the rounding between two passes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from service.tokens.resample import Within, resampled
from tests.service.photos import photo

LEVELS, MEAN_LEVELS = 10, 0.5


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("size", [(224, 224), (96, 64), (700, 500), (1, 300)])
@pytest.mark.parametrize("box", [(0, 0, 451, 300), (75.5, 0, 375.5, 300), (100 / 3, 7 / 9, 400 / 3, 299.9)])
def test_photo_is_what_pillow_makes_of_it(mode: str, size: tuple[int, int], box: Within) -> None:
    picture = Image.open(io.BytesIO(photo("chelsea", "PNG"))).convert(mode)
    picture.info["icc_profile"] = b"kept"
    small = resampled(picture, size, box)
    assert (small.mode, small.size, small.info) == (mode, size, picture.info)
    expected = picture.resize(size, Image.Resampling.BICUBIC, box=box)
    difference = np.abs(np.asarray(small, int) - np.asarray(expected, int))
    assert difference.max() <= LEVELS
    assert difference.mean() <= MEAN_LEVELS


def test_box_that_rounding_put_beyond_the_picture_ends_with_it() -> None:
    beyond = resampled(Image.new("RGB", (7, 5), "red"), (4, 4), (0, 0, np.nextafter(7, 8), 5))
    assert (np.asarray(beyond) == (255, 0, 0)).all()


@pytest.mark.parametrize("size", [(1, 1), (9, 4)])
def test_single_pixel_fills_any_size(size: tuple[int, int]) -> None:
    filled = resampled(Image.new("RGB", (1, 1), (3, 141, 59)), size, (0, 0, 1, 1))
    assert (np.asarray(filled) == (3, 141, 59)).all()

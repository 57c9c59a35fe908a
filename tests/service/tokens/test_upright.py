"""What is made small in parts is what the whole picture, turned, opaque, and made small, is."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from PIL import Image

from service.tokens.upright import Upright, resized

WIDTH, HEIGHT = 1301, 907
"""More than a part has, and no multiple of anything."""
SIZES = {(32, 48): 0, (200, 10): 0, (300, 250): 4}
"""How many levels off a pixel of noise may be. Pillow rounds between two passes, and which one is first is a
matter of the picture's size; where it averages before, that is the same one."""


@cache
def noise(mode: str) -> Image.Image:
    values = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
    if mode == "I;16":
        return Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    if mode == "P":
        image = Image.fromarray(values[..., 0]).convert("P")
        image.putpalette(values[0, :256, :3].tobytes())
        image.info["transparency"] = 3
        return image
    image = Image.fromarray(values)
    return image if image.mode == mode else image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "I;16"])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_parts_make_the_same_as_the_whole(mode: str, orientation: int) -> None:
    upright = Upright(noise(mode), orientation)
    whole = upright.whole()
    width, height = whole.size
    assert upright.size == whole.size == ((HEIGHT, WIDTH) if orientation >= 5 else (WIDTH, HEIGHT))
    boxes = [(0, 0, width, height), (width / 7, height / 9 + 0.25, width / 1.3, height / 1.2)]
    for size, box in product(SIZES, boxes):
        small = np.asarray(upright.resized(size, box), int)
        assert small.shape == (size[1], size[0], 3)
        assert np.abs(small - np.asarray(resized(whole, size, box), int)).max() <= SIZES[size]

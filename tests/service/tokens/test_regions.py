"""Regions lie where the model saw what they hold, whatever part of a picture that is."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.tokens.box import WHOLE, Box, pixels_of
from service.tokens.choices import Fit
from service.tokens.pictures import PAD_COLOUR, Source, decode_image
from service.tokens.regions import NOWHERE, Region, regions
from service.tokens.types import Floats
from tests.service.photos import encoded

GRID = 12
SIDE = 144
PAINTS = np.array([(220, 30, 30), (30, 200, 40), (40, 40, 230), (240, 230, 20), PAD_COLOUR, (255, 255, 255)])
"""A token each: four of the picture, one of the margin, one of nothing."""
MARGIN, NOTHING = 4, 5


def painted(width: int, height: int, patch: tuple[int, int]) -> NDArray[np.int64]:
    """Which paint each pixel (H, W) has: at random, in blocks of a patch's size."""
    blocks = np.random.default_rng(0).integers(0, 4, (height // patch[1], width // patch[0]))
    return blocks.repeat(patch[1], axis=0).repeat(patch[0], axis=1)


def localized(view: NDArray[np.uint8]) -> Floats:
    """What a model would tell that has a token for each paint: it holds 0.75 of the patches that show it."""
    middles = view[SIDE // GRID // 2 :: SIDE // GRID, SIDE // GRID // 2 :: SIDE // GRID].astype(int)
    nearest = np.abs(middles[:, :, None] - PAINTS).sum(axis=3).argmin(axis=2)
    shares = np.full((GRID, GRID, len(PAINTS)), 0.05, np.float32)
    np.put_along_axis(shares, nearest[..., None], 0.75, axis=2)
    return shares


@pytest.mark.parametrize(
    ("size", "fit", "box", "patch", "seen"),
    [
        ((400, 240), "crop", WHOLE, (20, 20), (80, 0, 320, 240)),
        ((240, 400), "crop", WHOLE, (20, 20), (0, 80, 240, 320)),
        ((480, 240), "stretch", WHOLE, (40, 20), (0, 0, 480, 240)),
        ((480, 240), "pad", WHOLE, (40, 40), (0, 0, 480, 240)),
        ((480, 240), "crop", (0.5, 0, 1, 1), (20, 20), (240, 0, 480, 240)),
        ((480, 240), "pad", (0.25, 0.5, 0.75, 1), (20, 20), (120, 120, 360, 240)),
    ],
)
def test_masks_cover_what_the_model_saw_where_it_is_in_the_picture(
    size: tuple[int, int], fit: Fit, box: Box, patch: tuple[int, int], seen: tuple[int, int, int, int]
) -> None:
    paint = painted(*size, patch)
    picture = encoded(Image.fromarray(PAINTS[paint].astype(np.uint8)))
    image = decode_image(picture, SIDE, fit, 10**6, box)
    inside = np.zeros(paint.shape, bool)
    inside[seen[1] : seen[3], seen[0] : seen[2]] = True
    found = {region.token: region for region in regions(localized(image.pixels), image.source)}
    assert not found.keys() & {MARGIN, NOTHING}
    for token, region in found.items():
        np.testing.assert_array_equal(mask(region, image.source), inside & (paint == token))
        assert region.share == pytest.approx(0.75)
    assert sum(int(region.counts[1::2].sum()) for region in found.values()) == inside.sum()


@pytest.mark.parametrize("seed", range(4))
def test_regions_of_any_rectangle_are_those_of_a_plain_loop(seed: int) -> None:
    draw = random.Random(seed)
    width, height = draw.randint(1, 60), draw.randint(1, 60)
    left, top = draw.uniform(-20, width - 1), draw.uniform(-20, height - 1)
    rectangle = left, top, left + draw.uniform(1, 70), top + draw.uniform(1, 70)
    source = Source(
        width=width, height=height, rectangle=rectangle, box=pixels_of((0.1, 0, 0.8, 1), width, height)
    )
    localization = np.random.default_rng(seed).dirichlet(np.ones(5), (3, 4)).astype(np.float32)
    owner, shares = by_a_loop(localization, source)
    found = list(regions(localization, source))
    assert [region.token for region in found] == sorted({*owner.ravel().tolist()} - {NOWHERE})
    for region in found:
        np.testing.assert_array_equal(mask(region, source), owner == region.token)
        assert region.counts[1:].all()
        assert region.share == pytest.approx(shares[owner == region.token].mean())


def test_a_middle_that_rounding_puts_at_the_end_is_of_the_last_patch() -> None:
    source = Source(
        width=400, height=1, rectangle=(-1000, 0, math.nextafter(320.5, 321), 1), box=(0, 0, 400, 1)
    )
    localization = np.eye(2, dtype=np.float32)[None]  # token 1 holds the right half
    assert [region.counts.tolist() for region in regions(localization, source)] == [[0, 321, 79]]


def mask(region: Region, source: Source) -> NDArray[np.int64]:
    """(H, W): 1 within, 0 elsewhere."""
    within = np.arange(len(region.counts)) % 2
    return within.repeat(region.counts).reshape(source.width, source.height).T


def by_a_loop(localization: Floats, source: Source) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each pixel's token, and what that holds of it: the first patch whose end is beyond its middle."""
    h, w, _ = localization.shape
    left, top, right, bottom = source.rectangle
    owner = np.full((source.height, source.width), NOWHERE)
    shares = np.zeros((source.height, source.width))
    for y in range(source.height):
        for x in range(source.width):
            middle_x, middle_y = x + 0.5, y + 0.5
            if not (left <= middle_x < right and top <= middle_y < bottom):
                continue
            if not (source.box[0] < middle_x < source.box[2] and source.box[1] < middle_y < source.box[3]):
                continue
            row = next(i for i in range(h) if middle_y < top + (bottom - top) * (i + 1) / h)
            column = next(j for j in range(w) if middle_x < left + (right - left) * (j + 1) / w)
            held = localization[row, column].tolist()
            owner[y, x], shares[y, x] = held.index(max(held)), max(held)
    return owner, shares

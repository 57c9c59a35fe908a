"""Localization as pictures."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from service.tokens.heatmaps import (
    CAPTION,
    GAP,
    RAMP,
    contact_sheet,
    png,
    region_map,
    tile,
    token_colours,
    token_map,
)

GRID = (2, 3)
# Token 0 holds the left column of the grid, token 1 the rest.
L = np.array([[1, 0], [0, 1], [0, 1]] * 2, np.float32)


def test_token_map_is_light_where_the_token_is() -> None:
    drawn = np.asarray(token_map(L, 0, GRID, (40, 60)))
    assert drawn.shape == (40, 60, 3)
    assert (drawn[:, :5] == RAMP[-1]).all()
    assert (drawn[:, -15:] == RAMP[0]).all()


def test_ramp_grows_lighter() -> None:
    """So that the maps read in grey print, too."""
    lightness = RAMP @ [0.299, 0.587, 0.114]
    assert (np.diff(lightness) > 0).all()


def test_even_shares_have_one_colour() -> None:
    even = np.full((6, 2), 0.5, np.float32)
    assert len(np.unique(np.asarray(token_map(even, 1, GRID, (20, 30))).reshape(-1, 3), axis=0)) == 1


def test_colours_differ() -> None:
    colours = token_colours(24).astype(int)
    distances = np.abs(colours[:, None] - colours[None]).sum(2) + 1000 * np.eye(24, dtype=int)
    assert distances.min() > 20


def test_regions_lie_where_the_tokens_are() -> None:
    grey = np.full((60, 60, 3), 100, np.uint8)
    drawn = np.asarray(region_map(grey, L, GRID)).astype(int)
    assert len(np.unique(drawn[:, :20].reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(drawn[:, 20:].reshape(-1, 3), axis=0)) == 1
    assert np.abs(drawn[0, 0] - drawn[0, -1]).max() > 20
    tints = token_colours(2).astype(float)
    np.testing.assert_allclose(drawn[0, 0], 0.45 * 100 + 0.55 * tints[0], atol=1)


def test_sheet_has_a_tile_for_the_photo_the_regions_and_each_token() -> None:
    photo = np.zeros((40, 40, 3), np.uint8)
    sheet = contact_sheet(photo, np.full((6, 10), 0.1, np.float32), GRID)
    assert sheet.size == (6 * (40 + GAP) + GAP, 2 * (40 + CAPTION + GAP) + GAP)


def test_tiles_are_where_they_belong() -> None:
    red, blue = (Image.new("RGB", (10, 10), colour) for colour in ("red", "blue"))
    sheet = tile([("a", red), ("b", blue), ("c", red)], columns=2)
    top = GAP + CAPTION
    assert sheet.getpixel((GAP, top)) == (255, 0, 0)
    assert sheet.getpixel((10 + 2 * GAP, top)) == (0, 0, 255)
    assert sheet.getpixel((GAP, top + 10 + CAPTION + GAP)) == (255, 0, 0)


def test_png_reads_back() -> None:
    picture = Image.new("RGB", (5, 4), (1, 2, 3))
    with Image.open(io.BytesIO(png(picture))) as read:
        assert read.format == "PNG"
        assert read.getpixel((4, 3)) == (1, 2, 3)

"""The picture to judge a model by."""

from __future__ import annotations

import torch

from model import Stellar, get_preset
from training.evaluation.grid import CAPTION_HEIGHT, COLUMNS, TILE_WIDTH, draw_grid, draw_regions


def test_every_token_has_a_colour_of_its_own() -> None:
    regions = draw_regions(torch.eye(16), (4, 4))
    assert regions.size == (4, 4)
    assert len(regions.getcolors() or []) == 16


def test_patches_of_one_token_share_its_colour() -> None:
    localization = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    regions = draw_regions(localization, (2, 2))
    first, second, third, fourth = (regions.getpixel(place) for place in ((0, 0), (1, 0), (0, 1), (1, 1)))
    assert first == second == fourth != third


def test_grid_has_a_row_for_each_photo() -> None:
    torch.manual_seed(0)
    sheet = draw_grid(Stellar(get_preset("debug", image_size=(48, 32))).eval())
    assert sheet.size == (len(COLUMNS) * TILE_WIDTH, 6 * TILE_WIDTH * 3 // 2 + CAPTION_HEIGHT)
    assert len(sheet.getcolors(2**24) or []) > 100

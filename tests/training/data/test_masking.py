"""Masks against reference draws, and what they look like."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.data.draws import Draws
from training.data.masking import MaskDraws, draw_masks, kept_patches


def test_reference_masks_for_given_noise(unit: dict[str, Tensor]) -> None:
    draws = MaskDraws(
        noise=unit["mask.noise"],
        center_x=unit["mask.cx"][:, 0],
        center_y=unit["mask.cy"][:, 0],
        spread=unit["mask.sigma"][:, 0, 0],
        block=unit["mask.u_focal"][:, 0],
    )
    kept = kept_patches(draws, (6, 6), 0.8)
    gathered = unit["mask.x"].gather(1, kept[:, :, None].expand(-1, -1, 5))
    assert torch.equal(gathered, unit["mask.x_kept"])


@pytest.mark.parametrize(("grid", "expected"), [((14, 14), 39), ((8, 8), 12), ((6, 6), 7), ((4, 2), 1)])
def test_a_fifth_of_the_patches_stays_rounded_down(grid: tuple[int, int], expected: int) -> None:
    kept = kept_patches(draw_masks(Draws(0, 3), 1, grid), grid, 0.8)
    assert kept.shape == (3, expected)
    assert all(len(set(row)) == expected for row in kept.tolist())


def test_half_of_the_views_cluster_around_their_centre() -> None:
    draws = draw_masks(Draws(0, 200), 2, (14, 14))
    kept = kept_patches(draws, (14, 14), 0.8)
    across, down = kept % 14 - draws.center_x[:, None], kept // 14 - draws.center_y[:, None]
    distance = (across.square() + down.square()).float().sqrt().mean(1)
    clustered = draws.block < 0.5
    assert 0.4 < clustered.float().mean() < 0.6
    assert distance[clustered].mean() < 0.75 * distance[~clustered].mean()


def test_the_same_seed_draws_the_same_masks() -> None:
    first, second = (draw_masks(Draws(7, 4), 1, (6, 6)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_mask_over_everything_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mask_ratio: 0\.9 of 4 patches leaves none"):
        kept_patches(draw_masks(Draws(0, 1), 1, (2, 2)), (2, 2), 0.9)

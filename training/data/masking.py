"""Which patches of a masked view the encoder sees.

B batch · V views · N = h·w patches · K kept patches
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from training.data.draws import Draws

BLOCK_PROBABILITY = 0.5
SPREAD_RANGE = (0.1, 0.5)


class MaskDraws(NamedTuple):
    """The random numbers behind the masks of V views."""

    noise: Float[Tensor, "V N"]
    """Uniform in [0, 1); the patches with the lowest stay."""
    center_x: Int[Tensor, " V"]
    """Column of the patch that kept patches may cluster around."""
    center_y: Int[Tensor, " V"]
    """Its row."""
    spread: Float[Tensor, " V"]
    """Deviation of the cluster, as a share of the grid's longer side."""
    block: Float[Tensor, " V"]
    """Uniform in [0, 1); the view's patches cluster where this is below a half."""


def draw_masks(draws: Draws, num_views: int, grid: tuple[int, int]) -> MaskDraws:
    """Draw for `num_views` views of each picture, one picture's after the other's."""
    height, width = grid
    low, high = SPREAD_RANGE
    return MaskDraws(
        noise=draws.uniform(num_views, height * width).flatten(0, 1),
        center_x=draws.integers(num_views, below=width).flatten(),
        center_y=draws.integers(num_views, below=height).flatten(),
        spread=draws.uniform(num_views, low=low, high=high).flatten(),
        block=draws.uniform(num_views).flatten(),
    )


def draw_kept(draws: Draws, num_views: int, grid: tuple[int, int], mask_ratio: float) -> Int[Tensor, "B V K"]:
    """Ids of the patches that each of 1 or more masked views of each picture keeps.

    Raises as `kept_patches` does.
    """
    kept = kept_patches(draw_masks(draws, num_views, grid), grid, mask_ratio)
    return kept.view(-1, num_views, kept.shape[1])


def kept_patches(draws: MaskDraws, grid: tuple[int, int], mask_ratio: float) -> Int[Tensor, "V K"]:
    """Ids (row-major) of the int(N·(1 - mask_ratio)) patches that each view keeps, lowest noise first.

    In a view whose `block` is below a half, a Gaussian bump around its centre is subtracted from the noise:
    the kept patches cluster there. Raises `ValueError` where no patch would stay.
    """
    height, width = grid
    num_kept = int(height * width * (1 - mask_ratio))
    if num_kept < 1:
        raise ValueError(f"mask_ratio: {mask_ratio} of {height * width} patches leaves none")
    noise = draws.noise
    across = torch.arange(width, device=noise.device) - draws.center_x[:, None]  # (V, w)
    down = torch.arange(height, device=noise.device) - draws.center_y[:, None]  # (V, h)
    squared = (down[:, :, None] ** 2 + across[:, None, :] ** 2).flatten(1)  # (V, N)
    bump = torch.exp(-squared / (2 * (draws.spread[:, None] * max(grid)) ** 2))
    clustered = (draws.block < BLOCK_PROBABILITY)[:, None]
    return torch.where(clustered, noise - bump, noise).argsort(dim=1)[:, :num_kept]

"""Which patches of a masked view the encoder sees.

V views · N = h·w patches · K kept patches
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

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
    """Deviation of the cluster, in sides of the grid."""
    block: Float[Tensor, " V"]
    """Uniform in [0, 1); the view's patches cluster where this is below a half."""


def draw_masks(num_views: int, grid: tuple[int, int], generator: torch.Generator) -> MaskDraws:
    """Draw on the generator's device."""
    height, width = grid
    device = generator.device
    low, high = SPREAD_RANGE

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    return MaskDraws(
        noise=uniform(num_views, height * width),
        center_x=torch.randint(width, (num_views,), generator=generator, device=device),
        center_y=torch.randint(height, (num_views,), generator=generator, device=device),
        spread=low + (high - low) * uniform(num_views),
        block=uniform(num_views),
    )


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

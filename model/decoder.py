"""From the factorized embedding Z back to what the head predicts.

B batch · N = h·w patches · D encoder width · C decoder width
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from model.config import DECODER_HEADS, StellarConfig
from model.linear import Linear
from model.vit import Transformer


class PositionCode(nn.Module):
    """A fixed random-Fourier code of patch centres (Tancik et al. 2020); the matrix is in the checkpoint."""

    matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.randn(2, width // 2))

    def forward(self, grid: tuple[int, int]) -> Float[Tensor, "N C"]:
        """Codes of the h·w centres in row-major order, sine and cosine interleaved."""
        height, width = grid
        ones = self.matrix.new_ones(grid)
        x = (ones.cumsum(1) - 0.5) / width
        y = (ones.cumsum(0) - 0.5) / height
        centres = torch.stack([x, y], dim=-1).flatten(0, 1) * 2 - 1  # (N, 2) in [-1, 1]
        angles = 2 * math.pi * centres @ self.matrix  # (N, C / 2)
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class Decoder(nn.Module):
    """Projection, position code and a ViT without CLS or learned positions."""

    def __init__(self, config: StellarConfig) -> None:
        super().__init__()
        self.projection = Linear(config.width, config.decoder_width)
        self.position_code = PositionCode(config.decoder_width)
        self.transformer = Transformer(
            config.decoder_width, config.decoder_depth, DECODER_HEADS, config.decoder_mlp_width
        )

    def forward(self, embedding: Float[Tensor, "B N D"], grid: tuple[int, int]) -> Float[Tensor, "B N C"]:
        return self.transformer(self.projection(embedding) + self.position_code(grid))  # type: ignore[no-any-return]

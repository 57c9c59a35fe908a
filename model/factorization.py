"""Z = L S: how much of each semantic token every patch holds.

B batch · N patches · r sparse tokens · D encoder width
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from model.linear import Linear

SPATIAL_TEMPERATURE = 0.06
NORMALIZE_EPS = 1e-7


class Factorization(nn.Module):
    """The localization L: a softmax over tokens of projected cosines (STELLAR, section 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense_proj = Linear(width, width)
        self.sparse_proj = Linear(width, width)

    def forward(
        self, dense: Float[Tensor, "B N D"], sparse: Float[Tensor, "B r D"]
    ) -> Float[Tensor, "B N r"]:
        """L in fp32; every row sums to 1."""
        patches = F.normalize(self.dense_proj(dense).float(), dim=-1, eps=NORMALIZE_EPS)
        tokens = F.normalize(self.sparse_proj(sparse).float(), dim=-1, eps=NORMALIZE_EPS)
        # The temperature magnifies rounding seventeenfold, so this product stays in fp32 under autocast.
        with torch.autocast(patches.device.type, enabled=False):
            cosines = patches @ tokens.transpose(1, 2)  # (B, N, r)
        return (cosines / SPATIAL_TEMPERATURE).softmax(dim=-1)

"""Tokens that carry their number: a token should say what it shows, not which of the sixteen it is.

B batch · r sparse tokens · D width
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

EPS = 1e-8


def numbering(tokens: Float[Tensor, "B r D"]) -> Float[Tensor, ""]:
    """Share of the tokens' variance that their number explains, in [0, 1]: 0 where all numbers' means agree.

    The variance of the r means over the batch, over that of all tokens (the correlation ratio eta squared,
    Fisher 1925). In a batch of B pictures of equal numbers it is about 1 / B. Computed in float32.
    Raises `ValueError` for fewer than two pictures: of one, its number explains a token wholly.
    """
    if tokens.shape[0] < 2:
        raise ValueError(f"numbering: expected 2 pictures or more, got {tokens.shape[0]}")
    with torch.autocast(tokens.device.type, enabled=False):
        centred = tokens.float() - tokens.float().mean(dim=(0, 1))
        between = centred.mean(dim=0).square().sum(dim=-1).mean()
        return between / (centred.square().sum(dim=-1).mean() + EPS)

"""KoLeo: tokens of an image keep away from their nearest neighbour (Sablayrolles et al. 2019).

B batch · r tokens · D width
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

EPS = 1e-8


def koleo(tokens: Float[Tensor, "B r D"]) -> Float[Tensor, ""]:
    """Mean of -log(‖a - nearest(a)‖ / 2 + 1e-8) over L2-normalised tokens; neighbours are of the same image.

    Both tokens of a pair get a gradient. Computed in float32.
    Raises `ValueError` for fewer than two tokens: they have no neighbour.
    """
    if tokens.shape[1] < 2:
        raise ValueError(f"koleo: expected 2 tokens or more, got {tokens.shape[1]}")
    with torch.autocast(tokens.device.type, enabled=False):
        directions = F.normalize(tokens.float(), dim=-1, eps=EPS)
        with torch.no_grad():
            cosines = directions @ directions.transpose(1, 2)  # (B, r, r)
            cosines.diagonal(dim1=1, dim2=2).fill_(-2)  # below any cosine: nobody is their own neighbour
            nearest = cosines.argmax(dim=2)
        neighbours = directions.gather(1, nearest[:, :, None].expand_as(directions))
        distances = F.pairwise_distance(directions, neighbours, eps=EPS)  # (B, r)
        return -(distances / 2 + EPS).log().mean()

"""Whether tokens carry their number: how often the most similar token of another picture has the same one.

M pictures · r sparse tokens · D width
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

PICTURES_AT_ONCE = 32
"""The similarities of their tokens to all others are held in memory."""


def same_number(tokens: Float[Tensor, "M r D"]) -> float:
    """Share of tokens whose most similar one (by cosine) in any other picture has their number, in [0, 1].

    It is 1 / r where numbers say nothing. Raises `ValueError` for fewer than two pictures.
    """
    num_pictures, num_tokens = tokens.shape[:2]
    if num_pictures < 2:
        raise ValueError(f"same_number: expected 2 pictures or more, got {num_pictures}")
    directions = F.normalize(tokens, dim=2)
    known, same = directions.flatten(0, 1), 0
    for first in range(0, num_pictures, PICTURES_AT_ONCE):
        asked = directions[first : first + PICTURES_AT_ONCE]
        similarity = (asked.flatten(0, 1) @ known.T).view(*asked.shape[:2], num_pictures, num_tokens)
        own = torch.arange(len(asked))
        similarity[own, :, first + own] = -torch.inf
        nearest = similarity.flatten(2).argmax(dim=2) % num_tokens  # (m, r)
        same += int((nearest == torch.arange(num_tokens)).sum())
    return same / (num_pictures * num_tokens)

"""Tokens that carry their number: a token should say what it shows, not which of the sixteen it is.

B batch · r sparse tokens · D width
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

TEMPERATURE = 0.1


def numbering(tokens: Float[Tensor, "B r D"]) -> Float[Tensor, ""]:
    """How much the neighbours of a token in other pictures tell of its number, in nats from 0 to ln r.

    A token's soft neighbours (cosines / 0.1, as in Frosst et al. 2019, arXiv:1902.01889) vote for their
    numbers; the loss is the mean divergence of the votes from equal ones. That all numbers have the same mean
    would not be enough: each then takes directions of its own, which centring does not take off.
    Computed in float32. Raises `ValueError` for fewer than two pictures.
    """
    num_pictures, num_tokens = tokens.shape[:2]
    if num_pictures < 2:
        raise ValueError(f"numbering: expected 2 pictures or more, got {num_pictures}")
    with torch.autocast(tokens.device.type, enabled=False):
        directions = F.normalize(tokens.float(), dim=2).flatten(0, 1)
        scores = (directions @ directions.T / TEMPERATURE).view(
            num_pictures, num_tokens, num_pictures, num_tokens
        )
        own = torch.eye(num_pictures, dtype=torch.bool, device=tokens.device)[:, None, :, None]
        votes = scores.masked_fill(own, -torch.inf).logsumexp(dim=2).log_softmax(dim=2)  # (B, r, r)
        return (votes.exp() * votes).sum(dim=2).mean() + math.log(num_tokens)

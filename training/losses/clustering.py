"""Predicting which prototypes a token belongs to (STELLAR, section 3; DINO's and SwAV's scheme).

T tokens · K prototypes
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from training.losses.sinkhorn import sinkhorn

TARGET_TEMPERATURE = 0.06
PREDICTION_TEMPERATURE = 0.12


def assign(logits: Float[Tensor, "*batch K"]) -> Float[Tensor, "*batch K"]:
    """Targets, without gradient: balanced over all tokens of the batch jointly; each row sums to 1."""
    return sinkhorn(logits.detach().flatten(0, -2) / TARGET_TEMPERATURE).view_as(logits)


def cross_entropy(
    logits: Float[Tensor, "*batch K"], assignments: Float[Tensor, "*batch K"]
) -> Float[Tensor, ""]:
    """Mean over tokens of the cross-entropy of softmax(logits / 0.12) against the assignments, in float32."""
    with torch.autocast(logits.device.type, enabled=False):
        predictions = (logits.float() / PREDICTION_TEMPERATURE).log_softmax(dim=-1)
        return -(assignments * predictions).sum(dim=-1).mean()

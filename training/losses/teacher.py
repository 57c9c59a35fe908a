"""A slow copy of the model that makes the targets (Tarvainen & Valpola 2017; DINO's momentum encoder)."""

from __future__ import annotations

import copy

import torch
from torch import nn

from model import Stellar

PARTS = ("embedding", "sparse_tokens", "transformer", "clustering_head", "cls_cluster_head")
"""What a teacher has of a model: no factorization, no decoder."""


class Teacher(nn.Module):
    """Exponential moving average of a model's encoder, sparse tokens and clustering heads."""

    def __init__(self, model: Stellar, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.average = copy.deepcopy(model)
        for name, _ in list(self.average.named_children()):
            if name not in PARTS:
                delattr(self.average, name)
        self.requires_grad_(False)

    @torch.no_grad()
    def update(self, model: Stellar) -> None:
        """Move towards the model: after each step, once."""
        current = dict(model.named_parameters())
        for name, parameter in self.average.named_parameters():
            parameter.lerp_(current[name], 1 - self.momentum)

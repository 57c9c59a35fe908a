"""A slow copy of the model that makes the targets (Tarvainen & Valpola 2017; DINO's momentum encoder)."""

from __future__ import annotations

import copy

import torch
from torch import nn

from model import Stellar


class Teacher(nn.Module):
    """Exponential moving average of all that a model learns, which leaves out a VQ head's tokenizer."""

    def __init__(self, model: Stellar, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.average = copy.deepcopy(model)
        self.average.tokenizer = None
        self.requires_grad_(False)

    @torch.no_grad()
    def update(self, model: Stellar) -> None:
        """Move towards the model: after each step, once."""
        current = dict(model.named_parameters())
        for name, parameter in self.average.named_parameters():
            parameter.lerp_(current[name], 1 - self.momentum)

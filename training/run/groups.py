"""What learns, and how fast: frozen parts, weight decay, lower layers that learn more slowly."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

from torch import nn

from model import Stellar
from training.config import TrainingConfig

UNDECAYED = ("cls_token", "positions", "sparse_tokens", "mask_token")
"""Parameters with two axes and more that are embeddings, not matrices."""
INPUTS = ("embedding", "sparse_tokens")
"""Parts of a model that go into its first encoder layer."""


class Group(NamedTuple):
    """Parameters that one rule holds for."""

    parameters: list[nn.Parameter]
    weight_decay: float
    rate_share: float
    """Their learning rate over the step's."""


def freeze(model: Stellar, config: TrainingConfig) -> None:
    """Have the parts and layers that `config` names stay as they are.

    Nothing is kept for a backward pass through frozen layers, since what goes into them is frozen, too.
    """
    layers = (f"transformer.blocks.{index}" for index in range(config.frozen_layers))
    frozen = (*config.frozen, *layers, *(INPUTS if config.frozen_layers else ()))
    for name, parameter in model.named_parameters():
        if any(name == part or name.startswith(f"{part}.") for part in frozen):
            parameter.requires_grad_(False)


def parameter_groups(objective: nn.Module, config: TrainingConfig) -> list[Group]:
    """Groups of what learns: matrices, which decay, and the rest, which does not, of each height.

    The learning rate falls by `layer_decay` with each layer, from what lies above the encoder's last one down
    to what goes into its first (Clark et al. 2020, arXiv:2003.10555).

    Raises `ValueError` where nothing learns.
    """
    found: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    model = objective.model
    assert isinstance(model, Stellar)
    top = model.config.depth + 1
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim >= 2 and not name.endswith(UNDECAYED)
            steps_down = top - _height(name.removeprefix("model."), top) if config.layer_decay < 1 else 0
            found[steps_down, decays].append(parameter)
    if not found:
        raise ValueError("frozen: expected something that learns, got all parts")
    return [
        Group(parameters, config.weight_decay if decays else 0.0, config.layer_decay**steps_down)
        for (steps_down, decays), parameters in sorted(found.items(), reverse=True)
    ]


def _height(name: str, top: int) -> int:
    """0 for what goes into the encoder's layers, then their number from 1 on, then `top`."""
    if name.split(".")[0] in INPUTS:
        return 0
    layer = re.match(r"transformer\.blocks\.(\d+)\.", name)
    return int(layer[1]) + 1 if layer else top

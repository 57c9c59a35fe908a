"""What an objective gives: its losses by their names."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Losses(NamedTuple):
    """The losses of a step."""

    total: Float[Tensor, ""]
    """Sum of the named losses times their weights."""
    named: dict[str, Float[Tensor, ""]]
    """Each loss without its weight, under its name in `LossWeights`."""

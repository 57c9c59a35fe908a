"""The random numbers of one step: the same for every picture, however many processes share the step.

B pictures of this process · G pictures of the whole step
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Draws:
    """Draws for pictures `first` to `first + batch_size` of the `total` pictures of a step.

    Everyone draws for all pictures of the step, in the same order, and keeps the rows of their own.
    """

    def __init__(
        self,
        seed: int,
        batch_size: int,
        *,
        first: int = 0,
        total: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.generator = torch.Generator(device).manual_seed(seed)
        self.device = self.generator.device
        self.total = batch_size if total is None else total
        self.own = slice(first, first + batch_size)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Float[Tensor, "B ..."]:
        """Uniform in [low, high), `shape` for each picture."""
        draws = torch.rand((self.total, *shape), generator=self.generator, device=self.device)
        return low + (high - low) * draws[self.own]

    def chance(self, *shape: int, probability: float = 0.5) -> Bool[Tensor, "B ..."]:
        """True with a probability in [0, 1], `shape` for each picture."""
        return self.uniform(*shape) < probability

    def integers(self, *shape: int, below: int) -> Int[Tensor, "B ..."]:
        """Whole numbers from 0 to below `below`, `shape` for each picture."""
        draws = torch.randint(below, (self.total, *shape), generator=self.generator, device=self.device)
        return draws[self.own]

"""The draws of a step: the same for a picture whoever makes them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from training.data.draws import Draws


def test_processes_that_share_a_step_draw_what_one_would_for_all_pictures() -> None:
    whole = Draws(3, 6)
    parts = [Draws(3, 2, first=first, total=6) for first in (0, 2, 4)]
    drawn: tuple[Callable[[Draws], Tensor], ...] = (
        lambda draws: draws.uniform(4, low=-1.0, high=2.0),
        lambda draws: draws.integers(below=100),
        lambda draws: draws.chance(5, 2, probability=0.3),
    )
    for draw in drawn:
        assert torch.equal(draw(whole), torch.cat([draw(part) for part in parts]))


def test_draws_are_in_their_range_and_spread_over_it() -> None:
    draws = Draws(0, 1000)
    uniform, whole = draws.uniform(4, low=-1.0, high=3.0), draws.integers(4, below=7)
    assert -1 <= uniform.min() < -0.98
    assert 2.98 < uniform.max() < 3
    assert set(whole.flatten().tolist()) == set(range(7))
    assert 0.27 < draws.chance(4, probability=0.3).float().mean() < 0.33


def test_another_seed_draws_others() -> None:
    assert not torch.equal(Draws(0, 4).uniform(), Draws(1, 4).uniform())

"""Weights of losses: what is refused."""

from __future__ import annotations

import pytest

from training.loss_weights import LossWeights


def test_a_negative_loss_weight_is_refused_with_its_name() -> None:
    with pytest.raises(ValueError, match=r"losses\.koleo: expected a finite number, 0 or more, got -1"):
        LossWeights(koleo=-1.0)


def test_no_loss_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="losses: expected a weight above 0"):
        LossWeights().only()

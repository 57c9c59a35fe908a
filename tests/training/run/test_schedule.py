"""The learning rate over a run."""

from __future__ import annotations

import pytest

from training.config import TrainingConfig
from training.run.schedule import learning_rate

CONFIG = TrainingConfig(steps=101, warmup_share=0.2, learning_rate=1.0, final_learning_rate=0.1)


def test_warm_up_is_linear_and_ends_at_the_peak() -> None:
    assert [learning_rate(step, CONFIG) for step in range(20)] == pytest.approx(
        [(step + 1) / 20 for step in range(20)]
    )


def test_then_half_a_cosine_to_the_final_rate() -> None:
    assert learning_rate(20, CONFIG) == pytest.approx(1.0)
    assert learning_rate(60, CONFIG) == pytest.approx(0.55)
    assert learning_rate(100, CONFIG) == pytest.approx(0.1)


def test_no_warm_up_starts_at_the_peak() -> None:
    assert learning_rate(0, TrainingConfig(steps=1, warmup_share=0.0, learning_rate=0.5)) == 0.5


def test_only_warm_up_never_falls() -> None:
    config = TrainingConfig(steps=4, warmup_share=1.0, learning_rate=1.0)
    assert [learning_rate(step, config) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]

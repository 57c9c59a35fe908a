"""The learning rate of each step: a linear warm-up, then half a cosine (Loshchilov & Hutter 2017)."""

from __future__ import annotations

import math

from training.config import TrainingConfig


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Learning rate of a step, counted from 0: the warm-up ends at the peak, the run at the final rate."""
    warmup_steps = round(config.steps * config.warmup_share)
    if step < warmup_steps:
        return config.learning_rate * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, config.steps - 1 - warmup_steps)
    span = config.learning_rate - config.final_learning_rate
    return config.final_learning_rate + span * (1 + math.cos(math.pi * min(progress, 1))) / 2

"""The recipes that have names: the published models', a small one, and a sketch to try things with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from training.config import TrainingConfig
from training.loss_weights import LossWeights

VQ_LOSSES = LossWeights(reconstruction=0.05)

TRAINING_PRESETS: dict[str, TrainingConfig] = {
    "b8": TrainingConfig(losses=VQ_LOSSES),
    "b16": TrainingConfig(losses=VQ_LOSSES),
    "b24": TrainingConfig(losses=VQ_LOSSES),
    "l16": TrainingConfig(losses=VQ_LOSSES),
    "h16": TrainingConfig(losses=VQ_LOSSES, local_size=98),
    "tiny": TrainingConfig(
        steps=10_000,
        batch_size=32,
        learning_rate=1e-3,
        beta2=0.95,
        masked_views=2,
        local_crops=2,
        local_size=48,
        picture_size=128,
        colour_strength=0.5,
        workers=1,
        save_every=250,
    ),
    "debug": TrainingConfig(
        steps=8,
        batch_size=4,
        learning_rate=1e-3,
        masked_views=2,
        local_crops=2,
        local_size=16,
        picture_size=40,
        workers=1,
        log_every=1,
        save_every=4,
    ),
}
"""The recipes for the models of the same names."""

NAMED = tuple(f"stellar-{preset}" for preset in TRAINING_PRESETS if preset != "debug")
"""Models to start from that have names: the published ones and the bundled one."""


def get_recipe(preset: str, **overrides: Any) -> TrainingConfig:
    """The recipe of a preset, with some fields replaced.

    Raises `ValueError` for an unknown preset or an impossible value.
    """
    if preset not in TRAINING_PRESETS:
        raise ValueError(f"unknown preset {preset!r}: expected one of {', '.join(TRAINING_PRESETS)}")
    return replace(TRAINING_PRESETS[preset], **overrides)

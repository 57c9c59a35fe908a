"""Going on from weights that there are, on one's own pictures: a run of that model by a gentle recipe."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from model import StellarConfig
from model.config import PRESETS
from training.config import TRAINING_PRESETS, LossWeights, RunConfig, TrainingConfig
from training.config_file import Changes, changed, merged
from training.run.learnt import with_learnt_losses
from training.run.weights import read_weights

GENTLE: dict[str, Any] = {
    "steps": 1000,
    "batch_size": 32,
    "learning_rate": 1e-4,
    "warmup_share": 0.1,
    "layer_decay": 0.75,
    "activation_checkpointing": True,
    "save_every": 250,
    "validate_every": 100,
    "held_out_share": 0.05,
}
"""What differs from the recipe that a model was trained by."""


def finetuned(changes: Changes) -> RunConfig:
    """The run that `changes` describe, of the model that their `init` is, by its losses and a gentle recipe.

    Raises `ValueError` as `changed` and `read_weights` do, and `CheckpointError`.
    """
    if changes.get("held_out") is not None:
        changes = merged({"training": {"held_out_share": 0.0}}, changes)
    model = read_weights(changes["init"], vqgan=changes.get("vqgan")).config
    start = RunConfig(pictures=changes["pictures"], model=model, training=gentle(model))
    return changed(start, with_learnt_losses(changes))


def gentle(model: StellarConfig) -> TrainingConfig:
    """The recipe of the preset that the model is like, for a short run that keeps what it knows.

    Where it is like none, views are as large beside its pictures as the paper's are.
    """
    like = [name for name, preset in PRESETS.items() if _build(preset) == _build(model)]
    recipe = TRAINING_PRESETS[like[0] if like else "b16"]
    if not like:
        patches = round(model.image_size * recipe.local_size / PRESETS["b16"].image_size / model.patch_size)
        recipe = replace(
            recipe,
            losses=LossWeights() if model.head == "pixel" else recipe.losses,
            local_size=max(1, patches) * model.patch_size,
            picture_size=round(model.image_size * recipe.picture_size / PRESETS["b16"].image_size),
        )
    return replace(recipe, **GENTLE)


def _build(model: StellarConfig) -> StellarConfig:
    """What stays the same with other token counts."""
    return replace(model, num_sparse_tokens=1)

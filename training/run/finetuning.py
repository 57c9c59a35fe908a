"""Going on from weights that there are, on one's own pictures: a run of that model by a gentle recipe."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from model import StellarConfig
from model.config import PRESETS
from training.config import RunConfig, TrainingConfig
from training.config_file import TABLES, Changes, changed, merged
from training.loss_weights import LossWeights
from training.recipes import TRAINING_PRESETS
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
    model = changed(
        read_weights(changes["init"], vqgan=changes.get("vqgan")).config, changes.get("model", {})
    )
    changes = with_learnt_losses(changes)
    training = changed(gentle(model), changes.get("training", {}))
    start = RunConfig(pictures=changes["pictures"], model=model, training=training)
    return changed(start, {name: value for name, value in changes.items() if name not in TABLES})


def gentle(model: StellarConfig) -> TrainingConfig:
    """The recipe of the preset that the model is like, or of b16, for a short run that keeps what it knows.

    Views are as large beside the model's pictures as there: local crops by their area, and what views are cut
    from by the longer side.
    """
    like = [name for name, preset in PRESETS.items() if _build(preset) == _build(model)]
    name = like[0] if like else "b16"
    recipe, preset = TRAINING_PRESETS[name], PRESETS[name]
    ratio = math.sqrt(math.prod(model.size)) / math.sqrt(math.prod(preset.size))
    patches = max(1, round(recipe.local_size * ratio / model.patch_size))
    return replace(
        recipe,
        losses=recipe.losses if like or model.head == "vq" else LossWeights(),
        local_size=patches * model.patch_size,
        picture_size=round(recipe.picture_size * max(model.size) / max(preset.size)),
        **GENTLE,
    )


def _build(model: StellarConfig) -> StellarConfig:
    """What stays the same at other picture sizes and with other numbers of tokens."""
    return replace(model, num_sparse_tokens=1, image_size=model.patch_size)

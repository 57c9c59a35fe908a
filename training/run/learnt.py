"""The weights of the losses that a checkpoint learnt with: a note in its file, which `--init` takes along."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from model.tensor_file import read_metadata
from training.config import RunConfig, TrainingConfig
from training.config_file import Changes, merged
from training.loss_weights import DISTILLED, LossWeights
from training.run.weights import file_of

NOTE = "losses"
"""The note's name beside the tensors: a JSON object of the weights above 0."""


def note(config: TrainingConfig) -> dict[str, str]:
    """What to write beside the tensors of a model that learns by this recipe."""
    if config.objective != "stellar":
        return {}
    return {NOTE: json.dumps({name: weight for name, weight in asdict(config.losses).items() if weight})}


def with_learnt_losses(changes: Changes) -> Changes:
    """The changes of a run, over the losses' weights of the checkpoint that it starts from, if it notes any.

    Raises `ValueError` for a note that can't be read.
    """
    init, training = changes.get("init"), changes.get("training")
    teacher = dict(training).get("distillation") if isinstance(training, Mapping) else None
    taught = isinstance(teacher, Mapping) and teacher.get("teacher") is not None
    learnt = _learnt(file_of(init), taught) if isinstance(init, str) else None
    return changes if learnt is None else merged({"training": {"losses": learnt}}, changes)


def told(run: RunConfig) -> str:
    """A line on the losses of a run that starts from a checkpoint; nothing where there is none."""
    if run.init is None or run.training.objective != "stellar":
        return ""
    learnt = _learnt(file_of(run.init), run.training.distillation.teacher is not None)
    if learnt is None:
        return f"losses: {run.init} does not say how it weighed them; they are the recipe's"
    used = asdict(run.training.losses)
    shown = ", ".join(f"{name} {weight:g}" for name, weight in learnt.items() if weight)
    others = ", ".join(f"{name} {weight:g}" for name, weight in used.items() if weight != learnt[name])
    return f"losses as {run.init} learnt: {shown}" + (f"; but as set: {others}" if others else "")


def _learnt(checkpoint: Path, taught: bool) -> dict[str, float] | None:
    """The weight of every loss, 0 where the checkpoint did not learn with it; None where it has no note.

    Without a teacher there is nothing to distil from: those losses get 0. Raises `ValueError`.
    """
    written = read_metadata(checkpoint).get(NOTE)
    if written is None:
        return None
    try:
        weights = {name: float(weight) for name, weight in json.loads(written).items()}
        LossWeights(**weights)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"init: {checkpoint} notes odd weights of losses: expected a JSON object of numbers by names "
            f"of losses, got {written[:80]!r}: take another checkpoint, or make this one again"
        ) from error
    if not taught:
        weights |= dict.fromkeys(DISTILLED, 0.0)
    return {loss.name: weights.get(loss.name, 0.0) for loss in fields(LossWeights)}

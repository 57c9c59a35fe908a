"""`stellar-tiny` from nothing: fetch pictures and a teacher, train in stages, evaluate, export, calibrate.

The first stage only reconstructs, at a fraction of the cost of a full step; the second has the whole
objective; the third weighs reconstruction more, for the detail that the second lost; the fourth learns from a
pretrained teacher what pictures show, the fifth goes on with that and weighs reconstruction more; the last
gives tokens the sharp places again that this cost. Every part goes on where an interrupted call left it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from model import get_preset, load_checkpoint
from model.calibration import MOST_PICTURES, calibrate
from model.export import export_bundle
from training.config import DistillationConfig, RunConfig, TrainingConfig
from training.data.prepare import prepare
from training.evaluation.evaluation import measure, save_evaluation
from training.experiments.lite0 import lite0
from training.loss_weights import DISTILLED, LossWeights
from training.losses.pretrained import Pretrained
from training.recipes import get_recipe
from training.run.trainer import Trainer

NAME = "stellar-tiny"
LOSSES = LossWeights(reconstruction=50.0, sharpness=0.15)
"""The paper weighs reconstruction by 10, for long runs; in a short one the other losses would drown it.
Sharp localizations keep an edit in its place."""
TAUGHT = LossWeights(
    reconstruction=50.0,
    koleo=0.05,
    sharpness=0.3,
    numbering=0.3,
    **dict.fromkeys(DISTILLED, 1.0),
).only("reconstruction", "koleo", "sharpness", "numbering", *DISTILLED)
"""Without the paper's losses of clustering, whose views take most of a step's time."""

JUDGED_BY = "clipart-gallery"
"""Labelled pictures by which the vector for search is chosen: trained on, so others are left to judge it."""

console = Console()


def stages(teacher: DistillationConfig) -> dict[str, TrainingConfig]:
    """The configurations of the stages, by name and in order."""
    recipe = get_recipe("tiny", reference_crop="own")
    taught = replace(
        recipe,
        learning_rate=6e-4,
        picture_size=160,
        global_scale=(0.2, 1.0),
        reference_colour_strength=0.5,
        mixing=0.5,
        losses=TAUGHT,
        distillation=teacher,
    )
    first = LOSSES.only("reconstruction", "koleo", "sharpness")
    return {
        "reconstruction": replace(recipe, steps=1600, losses=first),
        "full": replace(recipe, steps=1500, batch_size=64, learning_rate=8e-4, losses=LOSSES),
        "polish": replace(
            recipe,
            steps=600,
            learning_rate=6e-4,
            losses=replace(LOSSES, reconstruction=200.0, sharpness=0.3),
        ),
        "taught": replace(taught, steps=4300, warmup_share=0.02),
        "refined": replace(
            taught,
            steps=1000,
            learning_rate=4e-4,
            losses=replace(TAUGHT, reconstruction=150.0, sharpness=0.15),
        ),
        "sharpened": replace(
            recipe,
            steps=150,
            learning_rate=2e-4,
            picture_size=160,
            global_scale=(0.2, 1.0),
            losses=replace(TAUGHT, reconstruction=150.0, sharpness=0.45, **dict.fromkeys(DISTILLED, 0.0)),
        ),
    }


def train(pictures: Path, runs: Path, teacher: DistillationConfig) -> Path | None:
    """Train all stages in folders below `runs`; the last checkpoint, or None where a signal stopped it."""
    checkpoint: Path | None = None
    for name, config in stages(teacher).items():
        folder = runs / name
        run = RunConfig(
            pictures=str(pictures.resolve()),
            init=str(checkpoint) if checkpoint else None,
            vqgan=None,
            model=get_preset("tiny"),
            training=config,
        )
        console.print(f"[bold]{NAME}[/]: {name} stage, {config.steps} steps, in {folder}")
        if not Trainer(run, folder).run():
            return None
        checkpoint = folder / "checkpoint.safetensors"
    return checkpoint


def make_tiny(work: Path) -> bool:
    """Everything, below `work`; the bundle comes to `work/stellar-tiny`. False where a signal stopped it."""
    prepare(work / "pictures")
    teacher = lite0(work / "teacher")
    checkpoint = train(work / "pictures" / "train", work / "runs", teacher)
    if checkpoint is None:
        console.print(f"stopped and saved; to go on: stellar-train tiny --work {work}")
        return False
    model = load_checkpoint(checkpoint)
    quality = measure(model, work / "pictures" / "labelled", Pretrained(teacher, torch.device("cpu")))
    save_evaluation(model, quality, work)
    export_bundle(model, work / NAME, name=NAME, checkpoint=checkpoint, quality=quality)
    labelled = work / "pictures" / "labelled" / JUDGED_BY
    calibrate(work / NAME, work / "pictures" / "train", labelled=labelled, most=MOST_PICTURES)
    console.print(f"done: {work / NAME}")
    return True

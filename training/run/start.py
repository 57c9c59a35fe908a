"""The model that a run starts with: new, or from weights that there are, made to fit."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

from model import Stellar, StellarConfig, load_checkpoint, load_vit_mae, save_checkpoint
from model.adapted import adapted
from training.config import RunConfig
from training.run.state import CHECKPOINT_FILE
from training.run.weights import read_weights

ADAPTED = ("image_size", "num_sparse_tokens")
"""What a run may have otherwise than the weights that it starts from."""


def start_model(run: RunConfig) -> tuple[Stellar, str]:
    """The model, and a line on what was changed to make it fit.

    Raises `ValueError` where `init` is of another architecture, or not there, and `CheckpointError`.
    """
    if run.init is None:
        model = _new_model(run)
        if run.vit_mae is not None:
            load_vit_mae(run.vit_mae, model)
        return model, ""
    read = read_weights(run.init, vqgan=run.vqgan, num_heads=run.model.num_heads)
    others = [
        f"{name} {getattr(read.config, name)!r}, not {getattr(run.model, name)!r}"
        for name in (field.name for field in fields(run.model))
        if name not in ADAPTED and getattr(read.config, name) != getattr(run.model, name)
    ]
    if others:
        raise ValueError(f"init: {run.init} has {', '.join(others)}")
    model = adapted(read, **{name: getattr(run.model, name) for name in ADAPTED})
    return model, _changes(read.config, model.config)


def _changes(before: StellarConfig, after: StellarConfig) -> str:
    told = []
    if before.image_size != after.image_size:
        sides = [f"{config.grid[0]} × {config.grid[1]}" for config in (before, after)]
        told.append(f"positions resized from {sides[0]} to {sides[1]} patches")
    more = after.num_sparse_tokens - before.num_sparse_tokens
    if more:
        told.append(f"{more} tokens added at random" if more > 0 else f"the last {-more} tokens left out")
    return f"init: {', '.join(told)}" if told else ""


def _new_model(run: RunConfig) -> Stellar:
    """Random weights, and a trained VQGAN under a VQ head."""
    model = Stellar(run.model)
    if run.model.head == "pixel":
        return model
    if run.vqgan is None:
        raise ValueError("vqgan: a VQ head learns the codes of a trained VQGAN; expected its file, got none")
    # Reading checkpoints is what knows the VQGAN's names, so the new weights take the way through a file.
    with TemporaryDirectory() as folder:
        path = Path(folder) / CHECKPOINT_FILE
        save_checkpoint(model, path)
        return load_checkpoint(path, vqgan=run.vqgan, num_heads=run.model.num_heads)

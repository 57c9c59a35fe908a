"""What a run needs to go on exactly where it stopped.

Every random draw of a step is made from the seed and the step's number, and the stream of pictures can be
entered at any batch; so weights, optimizer, teacher and step are the whole state.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.optim import Optimizer

from model import Stellar, save_checkpoint
from training.objective import Objective

STATE_FILE = "state.pt"
PREVIOUS_STATE_FILE = "state.previous.pt"
CHECKPOINT_FILE = "checkpoint.safetensors"


class Progress(NamedTuple):
    """How far a run is."""

    step: int
    """Steps done."""
    skipped: int
    """Steps whose loss or gradient was not finite, in all."""
    unreadable: int
    """Times that a picture file could not be read."""


def save_state(folder: Path, objective: Objective, optimizer: Optimizer, progress: Progress) -> None:
    """Write the state and, in the published names, the model; each appears whole or not at all.

    The state before this one is kept.
    """
    state = {
        "objective": objective.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": progress._asdict(),
    }
    path, previous = folder / STATE_FILE, folder / PREVIOUS_STATE_FILE
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        path.replace(previous)
    temporary.replace(path)
    write_checkpoint(objective.model, folder / CHECKPOINT_FILE)


def write_checkpoint(model: Stellar, path: Path) -> None:
    """Write a checkpoint beside its place and then put it there."""
    temporary = path.with_suffix(".new")
    save_checkpoint(model, temporary)
    temporary.replace(path)


def load_state(folder: Path, objective: Objective, optimizer: Optimizer) -> Progress:
    """Restore the newest state that can be read; without any, leave all as it is and start at step 0."""
    for name in (STATE_FILE, PREVIOUS_STATE_FILE):
        state = _read(folder / name)
        if state is not None:
            objective.load_state_dict(state["objective"])
            optimizer.load_state_dict(state["optimizer"])
            return Progress(**state["progress"])
    return Progress(0, 0, 0)


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]
    except (RuntimeError, EOFError, ValueError, OSError, pickle.UnpicklingError):
        return None  # cut off while it was written; the one before it is whole

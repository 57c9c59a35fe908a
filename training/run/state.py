"""What a run needs to go on exactly where it stopped.

Every random draw of a step is made from the seed and the step's number; so weights, optimizer, teacher, step
and where each process's stream of pictures stands are the whole state.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile
from typing import Any, NamedTuple

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import Optimizer

from model import Stellar, StellarConfig, save_checkpoint
from training.config import RunConfig
from training.data.streams import State
from training.run.learnt import note
from training.run.processes import Processes

STATE_FILE = "state.pt"
PREVIOUS_STATE_FILE = "state.previous.pt"
CHECKPOINT_FILE = "checkpoint.safetensors"
TEACHER_FILE = "teacher.safetensors"

Saved = dict[str, Any]
"""A state as its file has it."""
PARTS = (("objective", dict), ("optimizer", dict), ("progress", dict), ("streams", list))
"""The parts of a state beside each other."""

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
"""Sharded tensors are put together, on the first process alone."""
_WHERE_GRADIENTS_WERE = StateDictOptions(full_state_dict=True, cpu_offload=True, strict=False)
"""Parameters that no loss reaches have no state in the optimizer."""


class Progress(NamedTuple):
    """How far a run is."""

    step: int
    """Steps done."""
    skipped: int
    """Steps whose loss or gradient was not finite, in all."""
    unreadable: int
    """Pictures that could not be read, in all."""


class RunState(NamedTuple):
    """What is not in the model and the optimizer."""

    progress: Progress
    stream: State | None
    """Where this process's pictures stand; None at the start."""


def save_state(
    folder: Path,
    objective: torch.nn.Module,
    optimizer: Optimizer,
    state: RunState,
    config: RunConfig,
    processes: Processes,
) -> None:
    """Write the state and, in the published names, the model; each appears whole or not at all.

    The state before this one is kept. Every process must call this; the first one writes.
    Raises `OSError` where the disk is full or can't be written; the states that are there stay as they are.
    """
    weights = get_model_state_dict(objective, options=_WHOLE)
    optimization = get_optimizer_state_dict(objective, optimizer, options=_WHOLE)
    streams = processes.gather(state.stream)
    if not processes.first:
        return
    content = {
        "objective": weights,
        "optimizer": optimization,
        "progress": state.progress._asdict(),
        "streams": streams,
    }
    path = folder / STATE_FILE
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            path.replace(folder / PREVIOUS_STATE_FILE)
        temporary.replace(path)
        write_checkpoint(_model(weights, config.model), folder / CHECKPOINT_FILE, note(config.training))
        if config.training.teacher:
            write_checkpoint(_teacher(weights, config.model), folder / TEACHER_FILE, note(config.training))
        _keep_last(folder, state.progress.step, config.training.keep_checkpoints)
    except (OSError, RuntimeError) as error:  # torch's writer reports a full disk as a RuntimeError
        for unfinished in folder.glob(_temporary(Path("*")).name):
            unfinished.unlink(missing_ok=True)
        raise OSError(
            f"{folder}: the state after step {state.progress.step} could not be written ({error}); "
            "what was saved before is kept, and --resume goes on there"
        ) from error


def write_checkpoint(model: Stellar, path: Path, notes: Mapping[str, str]) -> None:
    """Write a checkpoint beside its place and then put it there."""
    temporary = _temporary(path)
    save_checkpoint(model, temporary, notes)
    temporary.replace(path)


def _keep_last(folder: Path, step: int, number: int) -> None:
    """Keep what was saved last under its step, and of those before as many as make the number."""
    if not number:
        return
    named = folder / f"checkpoint-{step:07}.safetensors"
    temporary = _temporary(named)
    copyfile(folder / CHECKPOINT_FILE, temporary)
    temporary.replace(named)
    for old in sorted(folder.glob("checkpoint-*.safetensors"))[:-number]:
        old.unlink()


def write_model(
    path: Path,
    objective: torch.nn.Module,
    config: StellarConfig,
    notes: Mapping[str, str],
    processes: Processes,
) -> None:
    """Write an objective's model as a checkpoint. Every process must call this; the first one writes."""
    weights = get_model_state_dict(objective, options=_WHOLE)
    if processes.first:
        write_checkpoint(_model(weights, config), path, notes)


def _temporary(path: Path) -> Path:
    return path.with_suffix(".new")


def read_state(folder: Path) -> tuple[Saved | None, str]:
    """The newest state in a run's folder that can be read, and a line where that is not the last one.

    None where the folder holds none. Raises `ValueError` where it holds some that can't be read.
    """
    newest, previous = folder / STATE_FILE, folder / PREVIOUS_STATE_FILE
    if (saved := _read(newest)) is not None:
        return saved, ""
    if (saved := _read(previous)) is not None:
        missing = "is damaged" if newest.exists() else "is not there"
        return saved, f"{newest} {missing}: the run goes on with the state before it"
    if damaged := [path.name for path in (newest, previous) if path.exists()]:
        raise ValueError(
            f"{folder}: {' and '.join(damaged)} can't be read: put back a copy, or begin another run with "
            f"--init {folder / CHECKPOINT_FILE}"
        )
    return None, ""


def restore(
    saved: Saved, folder: Path, objective: torch.nn.Module, optimizer: Optimizer, processes: Processes
) -> RunState:
    """Bring back the state that was read of a run's folder.

    Raises `ValueError` for a state of another architecture or recipe, or of another number of processes.
    """
    streams = saved["streams"]
    if len(streams) != processes.world_size:
        raise ValueError(
            f"{folder}: the run was saved by {len(streams)} processes and goes on with as many, "
            f"got {processes.world_size}"
        )
    # A parameter that the state lacks would stay as it is, at random.
    if missing := sorted(get_model_state_dict(objective).keys() - saved["objective"].keys()):
        raise ValueError(
            f"{folder}: its state is of another model or recipe than the configuration: it has no "
            f"{missing[0]}, one of {len(missing)}"
        )
    # Of the optimizer its averages come back; rates and decays are the configuration's.
    settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    try:
        set_model_state_dict(objective, saved["objective"], options=_WHOLE)
        set_optimizer_state_dict(objective, optimizer, saved["optimizer"], options=_WHERE_GRADIENTS_WERE)
        for group, own in zip(optimizer.param_groups, settings, strict=True):
            group.update(own)
    except (RuntimeError, KeyError) as error:
        raise ValueError(
            f"{folder}: its state is of another model or recipe than the configuration: {error}"
        ) from error
    return RunState(Progress(**saved["progress"]), streams[processes.rank])


def _model(weights: dict[str, Any], config: StellarConfig) -> Stellar:
    """The model among the objective's weights."""
    with torch.device("meta"):
        model = Stellar(config)
    own = {name.removeprefix("model."): weights[name] for name in weights if name.startswith("model.")}
    model.load_state_dict(own, assign=True, strict=False)
    return model


def _teacher(weights: dict[str, Any], config: StellarConfig) -> Stellar:
    """The moving average among the objective's weights, with the model's own tokenizer."""
    prefix = "teacher.average."
    average = {
        f"model.{name.removeprefix(prefix)}": weights[name] for name in weights if name.startswith(prefix)
    }
    tokenizer = {name: weights[name] for name in weights if name.startswith("model.tokenizer.")}
    return _model(average | tokenizer, config)


def _read(path: Path) -> Saved | None:
    """A state; None where there is none, or one that is damaged."""
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        Progress(**content["progress"])
        whole = all(isinstance(content[name], kind) for name, kind in PARTS)
    except Exception:  # unpickling raises whatever the bytes lead to
        return None
    return content if whole else None

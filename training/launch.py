"""A run as it is asked for on the command line: what is given, what it tells, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import typer

from training.config import RunConfig, TrainingConfig
from training.config_file import CONFIG_FILE, Changes, absolute, merged, parse_changes, read_changes
from training.run.memory import enough_memory, peak_gib
from training.run.processes import joined
from training.run.state import CHECKPOINT_FILE
from training.run.trainer import Trainer


def given(
    config: Path | None,
    paths: Mapping[str, Path | str | None],
    numbers: Mapping[str, int | float | None],
    settings: list[str] | None,
) -> Changes:
    """What is given: a file, over it options, over these settings. Raises `OSError` and `ValueError`."""
    options = absolute({name: str(path) for name, path in paths.items() if path is not None}, Path())
    options["training"] = {name: number for name, number in numbers.items() if number is not None}
    return merged(read_changes(config) if config else {}, options, parse_changes(settings or []))


def begin(out: Path) -> None:
    """Raise `ValueError` where a new run can't have this folder."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out: {out} is a file; name a folder")
    if (out / CONFIG_FILE).exists():
        raise ValueError(f"--out: {out} already holds a run; go on with --resume, or name another folder")


def launch(config: RunConfig, out: Path, losses: str) -> bool:
    """Train, and tell how it goes; `losses` is a line on them. False where a signal stopped it.

    Raises what `Trainer` raises, and `ValueError` where a step takes more memory than there is.
    """
    with joined() as processes:

        def say(message: str) -> None:
            if processes.first:
                typer.echo(message)

        device = processes.device.type
        with enough_memory(
            f"the model takes more memory than {device} has; expected a smaller one: model.image_size, "
            "model.width, model.depth"
        ):
            trainer = Trainer(config, out, processes)
        for line in filter(None, (*trainer.notices, _idle(config.training))):
            if processes.first:
                typer.echo(line, err=True)
        if losses:
            say(losses)
        steps = config.training.steps
        shared = f", {processes.world_size} processes" if processes.world_size > 1 else ""
        say(f"{out}: step {trainer.progress.step} of {steps}, on {device}{shared}")
        with enough_memory(
            f"a step takes more memory than {device} has; to go on with less: "
            f"stellar-train run --out {out} --resume --set training.activation_checkpointing=true, or "
            "with a lower --batch-size and a higher training.accumulation"
        ):
            done = trainer.run()
        say(f"memory: {peak_gib(trainer.device):.2f} GiB at most, on {device}")
        if skipped := trainer.progress.skipped:
            say(f"skipped: {skipped} of {steps} steps, whose loss or gradient was not finite")
        if done:
            say(f"done: {out / CHECKPOINT_FILE}")
        else:
            say(
                f"stopped and saved after step {trainer.progress.step} of {steps}; "
                f"to go on: stellar-train run --out {out} --resume"
            )
        return done


def _idle(config: TrainingConfig) -> str:
    """A line on losses that count nothing, if there are any."""
    parts = [f"{', '.join(names)} ({setting} is 0)" for setting, names in config.idle_losses.items()]
    return f"losses that count nothing, for they have no views: {'; '.join(parts)}" if parts else ""

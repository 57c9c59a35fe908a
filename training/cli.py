"""`stellar-train`: train STELLAR on a folder of pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from model import CheckpointError, get_preset, load_checkpoint
from training.config import CONFIG_FILE, RunConfig, get_recipe
from training.state import CHECKPOINT_FILE
from training.trainer import DivergedError, Trainer

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False, help=__doc__)


@app.callback()
def main() -> None:
    """Train STELLAR on a folder of pictures."""


@app.command()
def run(
    out: Annotated[
        Path, typer.Option(help="The run's folder: config, metrics, state and checkpoint.safetensors.")
    ],
    pictures: Annotated[Path | None, typer.Option(help="Folder of pictures, at any depth.")] = None,
    preset: Annotated[str, typer.Option(help="Model and recipe: tiny, debug, b16, l16, h16, …")] = "tiny",
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures in a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    masked_views: Annotated[int | None, typer.Option(help="Masked views of each picture.")] = None,
    local_crops: Annotated[int | None, typer.Option(help="Local crops of each picture.")] = None,
    picture_size: Annotated[int | None, typer.Option(help="Side of stored pictures, in pixels.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that read pictures.")] = None,
    save_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    log_every: Annotated[int | None, typer.Option(help="Steps between lines of metrics.")] = None,
    seed: Annotated[int | None, typer.Option(help="Where all random draws start.")] = None,
    reconstruction_only: Annotated[
        bool, typer.Option("--reconstruction-only", help="First stage: reconstruct, and keep tokens apart.")
    ] = False,
    teacher: Annotated[
        bool, typer.Option("--teacher", help="Targets from a moving average of the model.")
    ] = False,
    init: Annotated[
        Path | None, typer.Option(help="Checkpoint to start from, such as an earlier stage's.")
    ] = None,
    vqgan: Annotated[
        Path | None, typer.Option(help="Weights of the VQGAN, for a VQ head, where no INIT holds them.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in OUT; options given replace its own.")
    ] = False,
) -> None:
    """Train a model and write its checkpoint.

    Ctrl-C or SIGTERM stops it at any time, with everything saved; --resume goes on exactly there.
    """
    given = {
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "masked_views": masked_views,
        "local_crops": local_crops,
        "picture_size": picture_size,
        "workers": workers,
        "save_every": save_every,
        "log_every": log_every,
        "seed": seed,
        "teacher": teacher or None,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        config = _resumed(out, pictures) if resume else _fresh(out, pictures, preset, init, vqgan)
        training = replace(config.training, **changes)
        if reconstruction_only:
            training = replace(training, losses=training.losses.only("reconstruction", "koleo"))
        _train(replace(config, training=training), out)
    except (CheckpointError, DivergedError, OSError, ValueError) as error:
        raise _failed(error) from error


def _train(config: RunConfig, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, out)
    config.save(out)
    steps = config.training.steps
    typer.echo(f"{out}: step {trainer.progress.step} of {steps}, on {trainer.device.type}")
    if trainer.run():
        typer.echo(f"done: {out / CHECKPOINT_FILE}")
    else:
        typer.echo(
            f"stopped and saved after step {trainer.progress.step} of {steps}; "
            f"to go on: stellar-train run --out {out} --resume"
        )


@app.command()
def fetch(
    folder: Annotated[Path, typer.Argument(help="Where sources, training pictures and labelled sets go.")],
) -> None:
    """Fetch the openly licensed pictures of stellar-tiny and prepare them; goes on where it stopped."""
    from training.prepare import prepare
    from training.sources import SourceError

    try:
        counts = prepare(folder)
    except SourceError as error:
        raise _failed(error) from error
    typer.echo(f"done: {counts['train']} pictures to train on, {counts['labelled']} labelled drawings")


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint to evaluate.", exists=True)],
    pictures: Annotated[
        Path | None, typer.Option(help="Folder that `fetch` prepared: adds kNN on labelled drawings.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for evaluation.json and grid.png.")] = None,
) -> None:
    """Measure reconstruction, edits and, with --pictures, semantics on pictures that were not trained on."""
    from training.evaluation import measure, save_evaluation, show_evaluation

    try:
        model = load_checkpoint(checkpoint)
        figures = measure(model, pictures / "labelled" if pictures else None)
    except (CheckpointError, OSError) as error:
        raise _failed(error) from error
    show_evaluation(figures)
    if out is not None:
        save_evaluation(model, figures, out)
        typer.echo(f"done: {out / 'evaluation.json'} and {out / 'grid.png'}")


@app.command()
def tiny(
    work: Annotated[Path, typer.Option(help="Folder for pictures, runs and the bundle.")] = Path("work"),
) -> None:
    """Make stellar-tiny: fetch pictures, train, evaluate, export; goes on where it stopped."""
    from training.sources import SourceError
    from training.tiny import make_tiny

    try:
        make_tiny(work)
    except (SourceError, DivergedError) as error:
        raise _failed(error) from error


def _fresh(out: Path, pictures: Path | None, preset: str, init: Path | None, vqgan: Path | None) -> RunConfig:
    if pictures is None:
        raise ValueError("--pictures: expected a folder, got none")
    if (out / CONFIG_FILE).exists():
        raise ValueError(f"--out: {out} already holds a run; go on with --resume, or name another folder")
    return RunConfig(
        pictures=str(pictures.resolve()),
        init=str(init.resolve()) if init else None,
        vqgan=str(vqgan.resolve()) if vqgan else None,
        model=get_preset(preset),
        training=get_recipe(preset),
    )


def _resumed(out: Path, pictures: Path | None) -> RunConfig:
    config = RunConfig.load(out)
    return config if pictures is None else replace(config, pictures=str(pictures.resolve()))


def _failed(error: Exception) -> typer.Exit:
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(1)


if __name__ == "__main__":
    app()

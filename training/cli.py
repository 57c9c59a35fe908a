"""`stellar-train`: train STELLAR on a folder of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.config_file import describe, load_config, preset_run, resumed
from training.errors import DivergedError, SourceError

if TYPE_CHECKING:
    from training.losses.pretrained import Pretrained

Config = Annotated[
    Path | None,
    typer.Option(help="TOML file of settings, over the recipe's.", exists=True, dir_okay=False),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting, such as training.losses.koleo=0.2."),
]
Steps = Annotated[int | None, typer.Option(help="Optimizer steps.")]
BatchSize = Annotated[int | None, typer.Option(help="Pictures in a step, on each device.")]

STOPPED = 75
"""Exit code of what a signal stopped: EX_TEMPFAIL of sysexits.h, for what goes on if started again."""

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False, help=__doc__)


@app.callback()
def main() -> None:
    """Train STELLAR on a folder of pictures."""


@app.command()
def run(
    out: Annotated[
        Path, typer.Option(help="The run's folder: config, metrics, state and checkpoint.safetensors.")
    ],
    pictures: Annotated[
        str | None,
        typer.Option(help="Folder of pictures, or of Parquet or WebDataset shards, or a pattern of shards."),
    ] = None,
    preset: Annotated[str, typer.Option(help="Model and recipe: tiny, debug, b16, l16, h16, …")] = "tiny",
    config: Config = None,
    settings: Settings = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads that decode pictures.")] = None,
    seed: Annotated[int | None, typer.Option(help="Where all random draws start.")] = None,
    reconstruction_only: Annotated[
        bool, typer.Option("--reconstruction-only", help="First stage: reconstruct, and keep tokens apart.")
    ] = False,
    init: Annotated[
        str | None,
        typer.Option(help="A checkpoint or a name, as stellar-b16; its losses' weights come along."),
    ] = None,
    vit_mae: Annotated[
        Path | None, typer.Option(help="ViT-MAE checkpoint to start the encoder from.")
    ] = None,
    vqgan: Annotated[
        Path | None, typer.Option(help="Weights of the VQGAN, for a VQ head, where no INIT holds them.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in OUT; options given replace its own.")
    ] = False,
) -> None:
    """Train a model and write its checkpoint.

    Ctrl-C or SIGTERM stops it at any time, with everything saved; --resume goes on exactly there. The exit
    code is 0 where all steps are done, 75 where it was stopped, and 1 for an error.
    On several GPUs: torchrun --nproc-per-node 8 -m training.cli run …
    `stellar-train config b16` shows all settings.
    """
    from training.launch import begin, given, launch
    from training.run.learnt import told, with_learnt_losses

    paths = {"pictures": pictures, "init": init, "vit_mae": vit_mae, "vqgan": vqgan}
    numbers = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
    numbers |= {"workers": workers, "seed": seed}
    with _told():
        changes = given(config, paths, numbers, settings)
        if resume:
            resolved = resumed(load_config(out), changes)
        else:
            begin(out)
            resolved = preset_run(preset, with_learnt_losses(changes))
        if reconstruction_only:
            losses = resolved.training.losses.only("reconstruction", "koleo")
            resolved = replace(resolved, training=replace(resolved.training, losses=losses))
        done = launch(resolved, out, "" if resume else told(resolved))
    if not done:
        raise typer.Exit(STOPPED)


@app.command()
def finetune(
    start: Annotated[
        str, typer.Option("--from", help="A checkpoint, or a model's name: stellar-b16, …, stellar-tiny.")
    ],
    pictures: Annotated[str, typer.Option(help="Your pictures: a folder, or shards, as for `run`.")],
    out: Annotated[Path, typer.Option(help="The run's folder; to go on with it: `run --out OUT --resume`.")],
    held_out: Annotated[
        str | None,
        typer.Option(
            help="Others, to look at before and while it trains.", show_default="a share of PICTURES"
        ),
    ] = None,
    config: Config = None,
    settings: Settings = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate of the top.")] = None,
    layer_decay: Annotated[float | None, typer.Option(help="A layer's rate over the next one's.")] = None,
    frozen_layers: Annotated[int | None, typer.Option(help="First layers that stay as they are.")] = None,
    vqgan: Annotated[
        Path | None, typer.Option(help="Weights of the VQGAN, where a checkpoint lacks them.")
    ] = None,
) -> None:
    """Train a model that there is on your own pictures; exit codes are those of `run`."""
    from training.launch import begin, given, launch
    from training.run.finetuning import finetuned
    from training.run.learnt import told

    paths = {"pictures": pictures, "held_out": held_out, "init": start, "vqgan": vqgan}
    numbers = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
    numbers |= {"layer_decay": layer_decay, "frozen_layers": frozen_layers}
    with _told():
        changes = given(config, paths, numbers, settings)
        begin(out)
        resolved = finetuned(changes)
        done = launch(resolved, out, told(resolved))
    if not done:
        raise typer.Exit(STOPPED)


@app.command()
def config(
    preset: Annotated[str, typer.Argument(help="Model and recipe: tiny, debug, b16, l16, h16, …")] = "tiny",
) -> None:
    """Print all settings of a preset as TOML, for `stellar-train run --config`."""
    with _told():
        typer.echo(describe(preset_run(preset, {"pictures": "pictures"})), nl=False)


@app.command()
def fetch(
    folder: Annotated[Path, typer.Argument(help="Where sources, training pictures and labelled sets go.")],
) -> None:
    """Fetch the openly licensed pictures of stellar-tiny and prepare them; goes on where it stopped."""
    from training.data.prepare import prepare

    with _told():
        counts = prepare(folder)
    typer.echo(f"done: {counts['train']} pictures to train on, {counts['labelled']} labelled drawings")


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint to evaluate.", exists=True)],
    pictures: Annotated[
        Path | None, typer.Option(help="Folder that `fetch` prepared: adds kNN on labelled drawings.")
    ] = None,
    labelled: Annotated[
        Path | None,
        typer.Option(help="Folder with train and test, each LABEL/NAME.png or shards: adds probes on them."),
    ] = None,
    label_maps: Annotated[
        Path | None,
        typer.Option(help="Folder with train and test, each images and labels: adds a segmentation probe."),
    ] = None,
    probe_steps: Annotated[
        int, typer.Option(help="Steps that a decoder or a segmentation probe learns.", min=1)
    ] = 1000,
    teacher_of: Annotated[
        Path | None, typer.Option(help="Folder of a run whose teacher is judged on PICTURES, too.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for evaluation.json and grid.png.")] = None,
) -> None:
    """Measure reconstruction, edits and, on the pictures that are named, what frozen features are worth."""
    from model import load_checkpoint
    from training.data.labelled import examples
    from training.evaluation.evaluation import measure, save_evaluation, show_evaluation, untrained_like

    missing: dict[str, str] = {}
    shown = None
    with _told():
        model = load_checkpoint(checkpoint).eval()
        teacher = _teacher(teacher_of) if teacher_of else None
        figures = measure(model, pictures / "labelled" if pictures else None, teacher)
        # What these two measure with takes a second to import.
        if labelled is not None:
            from training.evaluation.labelled import measure_labelled

            of_labelled = measure_labelled(model, labelled, probe_steps=probe_steps)
            figures, missing = figures | of_labelled.figures, of_labelled.missing
            shown = examples(labelled / "test", model.config.size, 6)
        if label_maps is not None:
            from training.evaluation.segmentation import segmentation

            figures |= segmentation(model, untrained_like(model), label_maps, steps=probe_steps)
    show_evaluation(figures, missing)
    if out is not None:
        save_evaluation(model, figures, out, missing=missing, images=shown)
        typer.echo(f"done: {out / 'evaluation.json'} and {out / 'grid.png'}")


def _teacher(run: Path) -> Pretrained:
    """The pretrained teacher of a run. Raises `ValueError` where it has none."""
    import torch

    from training.losses.pretrained import Pretrained

    distillation = load_config(run).training.distillation
    if distillation.teacher is None:
        raise ValueError(f"--teacher-of: {run} has no teacher in training.distillation")
    return Pretrained(distillation, torch.device("cpu"))


@app.command()
def tiny(
    work: Annotated[Path, typer.Option(help="Folder for pictures, runs and the bundle.")] = Path("work"),
) -> None:
    """Make stellar-tiny: fetch pictures, train, evaluate, export; goes on where it stopped.

    The exit codes are those of `run`.
    """
    from training.experiments.tiny import make_tiny

    with _told():
        done = make_tiny(work)
    if not done:
        raise typer.Exit(STOPPED)


@app.command()
def claim(
    work: Annotated[Path, typer.Option(help="Folder for Fashion-MNIST, runs and results.")] = Path(
        "work/claim"
    ),
    arm: Annotated[
        list[str] | None, typer.Option(help="Train only this one; may be given several times.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Where all random draws start.", min=0)] = 0,
    steps: Annotated[
        int | None, typer.Option(help="Steps of each arm; default: the recipe's.", min=1)
    ] = None,
) -> None:
    """Show the paper's claim in small on Fashion-MNIST; goes on where it stopped.

    Arms: stellar-16, stellar-8, stellar-4, stellar-16-x4 (reconstruction weighs four times as much),
    semantic, reconstruction and mae. Calls with different arms can run side by side. The exit codes are
    those of `run`.
    """
    from training.experiments.claim import ARMS, make_claim

    with _told():
        done = make_claim(work, arm or [*ARMS], seed=seed, steps=steps)
    if not done:
        raise typer.Exit(STOPPED)


@contextmanager
def _told() -> Iterator[None]:
    """What is wrong is a sentence, and the command's end."""
    try:
        yield
    except (DivergedError, OSError, SourceError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()

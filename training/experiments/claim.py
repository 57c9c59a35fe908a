"""The paper's claim in small, on Fashion-MNIST: STELLAR's tokens serve search and reconstruction at once.

The same backbone sees the same pictures in the same number of steps with all losses, with the semantic ones
alone, with reconstruction alone, and as a masked autoencoder with a dense grid. Then the features are judged.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from rich.console import Console
from rich.table import Table
from torch import Tensor

from model import StellarConfig, load_checkpoint
from training.config import RunConfig, TrainingConfig
from training.data.labelled import label_ids, labelled_batches
from training.evaluation.decoder_probe import decoder_probe, own_psnr
from training.evaluation.features import extract
from training.evaluation.grid import draw_grid
from training.evaluation.knn import knn_accuracy
from training.evaluation.linear_probe import linear_probe
from training.evaluation.semantics import accuracies
from training.experiments.fashion import prepare_fashion
from training.loss_weights import LossWeights
from training.run.state import CHECKPOINT_FILE
from training.run.trainer import Trainer

RAW_NEIGHBOURS = 5
DECODER_PROBE_STEPS = 300
"""Or as many as the arm was trained, if that was less."""
RESULTS_FILE = "results.json"

MODEL = StellarConfig(
    image_size=28,
    patch_size=4,
    width=128,
    depth=4,
    num_heads=4,
    mlp_width=512,
    decoder_width=128,
    decoder_depth=2,
    decoder_mlp_width=256,
    head="pixel",
    num_prototypes=128,
    prototype_width=64,
    predictor_width=256,
)
LOSSES = LossWeights(reconstruction=50.0)
RECIPE = TrainingConfig(
    steps=3000,
    batch_size=32,
    learning_rate=1e-3,
    beta2=0.95,
    losses=LOSSES,
    masked_views=2,
    local_crops=2,
    local_size=12,
    picture_size=28,
    reference_crop="own",
    local_scale=(0.1, 0.4),
    workers=1,
    log_every=100,
)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One of the models that are compared."""

    model: StellarConfig
    training: TrainingConfig
    own_decoder: bool
    """Whether its decoder learns to draw a whole picture from the tokens."""


ARMS: dict[str, Arm] = {
    f"stellar-{count}": Arm(model=replace(MODEL, num_sparse_tokens=count), training=RECIPE, own_decoder=True)
    for count in (16, 8, 4)
} | {
    "stellar-16-x4": Arm(
        model=MODEL, training=replace(RECIPE, losses=replace(LOSSES, reconstruction=200.0)), own_decoder=True
    ),
    "semantic": Arm(
        model=MODEL,
        training=replace(RECIPE, losses=replace(LOSSES, reconstruction=0.0)),
        own_decoder=False,
    ),
    "reconstruction": Arm(
        model=MODEL,
        training=replace(RECIPE, losses=LOSSES.only("reconstruction", "koleo")),
        own_decoder=True,
    ),
    "mae": Arm(
        model=MODEL,
        training=replace(RECIPE, objective="mae", mask_ratio=0.7, learning_rate=2e-3),
        own_decoder=False,
    ),
}
"""By the name of their folder. Weights and schedule differ in nothing but what is named here."""

console = Console()


@dataclass(frozen=True, kw_only=True)
class Result:
    """The figures of an arm; accuracies in [0, 1], decibels where a decoder draws whole pictures."""

    arm: str
    seed: int
    steps: int
    hours: float
    """Of training, on this machine, whatever else ran on it."""
    accuracy: dict[str, dict[str, float]]
    """`linear` and `knn`, each of every kind of feature."""
    psnr_db: float | None
    """Of the model's own decoder."""
    tokens_psnr_db: float
    """Of a decoder trained on the frozen tokens."""
    dense_psnr_db: float
    """Of one trained on the frozen patches."""


def make_claim(work: Path, names: Iterable[str], *, seed: int = 0, steps: int | None = None) -> bool:
    """Train and judge the named arms below `work`, and print the table of all that are done.

    Whatever is done stays; a run that was interrupted goes on. False where a signal stopped it.
    Raises `SourceError` where Fashion-MNIST can't be fetched and `ValueError` for an unknown arm.
    """
    unknown = [name for name in names if name not in ARMS]
    if unknown:
        raise ValueError(f"unknown arm {unknown[0]!r}: expected some of {', '.join(ARMS)}")
    pictures = prepare_fashion(work / "fashion-mnist")
    for name in names:
        folder = work / f"{name}-{seed}"
        if (folder / RESULTS_FILE).exists():
            continue
        training = replace(ARMS[name].training, seed=seed)
        training = replace(training, steps=steps or training.steps)
        run = RunConfig(pictures=str(pictures / "train"), model=ARMS[name].model, training=training)
        console.print(f"[bold]{name}[/]: {training.steps} steps, in {folder}")
        if not _train(run, folder):
            console.print(f"stopped and saved; to go on: stellar-train claim --work {work}")
            return False
        result = judge(name, folder, pictures, run)
        (folder / RESULTS_FILE).write_text(json.dumps(asdict(result), indent=2) + "\n")
    show(work, pictures)
    return True


def judge(name: str, folder: Path, pictures: Path, run: RunConfig) -> Result:
    """Probes of a trained arm; saves a picture of six test images beside it."""
    model = load_checkpoint(folder / CHECKPOINT_FILE, num_heads=run.model.num_heads).eval()
    train, test = pictures / "train", pictures / "test"
    probe_steps = min(DECODER_PROBE_STEPS, run.training.steps)
    draw_grid(model, _examples(test)).save(folder / "grid.png")
    return Result(
        arm=name,
        seed=run.training.seed,
        steps=run.training.steps,
        hours=_seconds(folder) / 3600,
        accuracy=accuracies(extract(model, train), extract(model, test)),
        psnr_db=own_psnr(model, test) if ARMS[name].own_decoder else None,
        tokens_psnr_db=decoder_probe(model, str(train), test, "tokens", steps=probe_steps),
        dense_psnr_db=decoder_probe(model, str(train), test, "dense", steps=probe_steps),
    )


def raw_pixels(pictures: Path) -> dict[str, float]:
    """The same judges on raw pixels, to be compared with the published table."""
    known, labels = _pixels(pictures / "train")
    asked, wanted = _pixels(pictures / "test")
    ids, wanted_ids = label_ids(labels, wanted)
    return {
        "linear": linear_probe(known, ids, asked, wanted_ids),
        "knn": knn_accuracy(known, ids, asked, wanted_ids, RAW_NEIGHBOURS),
    }


def show(work: Path, pictures: Path) -> None:
    """Print all results below `work` as a table, and raw pixels', and write it to `work/table.md`."""
    results = [json.loads(path.read_text()) for path in work.glob(f"*/{RESULTS_FILE}")]
    pixels = raw_pixels(pictures)
    columns = (
        "arm",
        "steps",
        "seed",
        "linear mean/tokens/CLS/dense %",
        "kNN mean/tokens/CLS/dense %",
        "PSNR own/tokens/dense dB",
        "hours",
    )
    table = Table(*columns)
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    rows = sorted(map(_row, results), key=lambda row: ([*ARMS].index(row[0]), int(row[1]), int(row[2])))
    rows.append(
        ["raw pixels", "–", "–", f"{100 * pixels['linear']:.1f}", f"{100 * pixels['knn']:.1f}", "–", "–"]
    )
    for result in rows:
        table.add_row(*result)
        lines.append("| " + " | ".join(result) + " |")
    console.print(table)
    (work / "table.md").write_text("\n".join(lines) + "\n")


def _row(result: dict[str, object]) -> list[str]:
    stored = Result(**result)  # type: ignore[arg-type]
    rates = [
        " / ".join(f"{100 * value:.1f}" for value in stored.accuracy[judge].values())
        for judge in ("linear", "knn")
    ]
    decibels = (stored.psnr_db, stored.tokens_psnr_db, stored.dense_psnr_db)
    drawn = " / ".join("–" if value is None else f"{value:.1f}" for value in decibels)
    return [stored.arm, str(stored.steps), str(stored.seed), *rates, drawn, f"{stored.hours:.1f}"]


def _train(run: RunConfig, folder: Path) -> bool:
    seconds, start = _seconds(folder), time.monotonic()
    done = Trainer(run, folder).run()
    (folder / "seconds.json").write_text(json.dumps(seconds + time.monotonic() - start))
    return done


def _seconds(folder: Path) -> float:
    """How long the arm has trained in the calls before."""
    path = folder / "seconds.json"
    return float(json.loads(path.read_text())) if path.exists() else 0.0


def _examples(test: Path) -> Float[Tensor, "M 3 S S"]:
    return next(labelled_batches(test, MODEL.image_size, 6)).images


def _pixels(pictures: Path) -> tuple[Float[Tensor, "M D"], list[str]]:
    batches = list(labelled_batches(pictures, MODEL.image_size, 1000))
    grey = torch.cat([batch.images[:, 0].flatten(1) for batch in batches])
    return F.normalize(grey, dim=1), [label for batch in batches for label in batch.labels]

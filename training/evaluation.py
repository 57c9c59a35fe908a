"""What a model is worth: reconstruction and edits on photos, kNN on labelled drawings, a picture to look at.

B batch · H, W pixels · M pictures of a set · Q queries · D width · S side of the native size
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from skimage.metrics import structural_similarity
from torch import Tensor

from model import Stellar
from training.grid import draw_grid
from training.knn import chance, knn_accuracy
from training.locality import locality
from training.photos import middle_square, sample_photos

BATCH_SIZE = 64
RAW_SIDE = 32
"""Pixels are compared at 32×32: finer ones only make alignment matter more."""

LABELLED_SETS = ("noto", "twemoji", "stamps-gallery", "stamps-query")


class LabelledSet(NamedTuple):
    """Drawings, their labels (folders) and their names (file stems)."""

    images: Float[Tensor, "M 3 S S"]
    labels: list[str]
    names: list[str]

    @classmethod
    def read(cls, folder: Path, side: int) -> LabelledSet:
        """Read `folder/LABEL/NAME.png`. Raises `FileNotFoundError` where there are none."""
        paths = sorted(folder.glob("*/*.png"))
        if not paths:
            raise FileNotFoundError(f"{folder}: expected pictures in LABEL/NAME.png, found none")
        images = torch.stack([middle_square(Image.open(path), side) for path in paths])
        return cls(images, [path.parent.name for path in paths], [path.stem for path in paths])


def measure(model: Stellar, labelled: Path | None = None) -> dict[str, float]:
    """Every figure by its name; accuracies in [0, 1].

    kNN needs the labelled drawings that `stellar-train fetch` prepares: `labelled` is their folder.
    """
    model = model.eval()
    figures = reconstruction(model) | locality(model)
    if labelled is not None:
        figures |= semantics(model, labelled)
    return figures


@torch.no_grad()
def reconstruction(model: Stellar) -> dict[str, float]:
    """Mean PSNR in dB and SSIM of the sample photos, and each photo's, at the native size."""
    photos = sample_photos(model.config.image_size)
    images = torch.stack(list(photos.values()))
    encoding, localization = model(images)
    rendered = model.render(encoding.sparse, localization)
    if rendered.shape != images.shape:  # the VQGAN draws 16 pixels a patch, whatever the encoder's patch is
        rendered = F.interpolate(rendered, size=images.shape[2:], mode="bilinear", antialias=True)
    psnr = -10 * (rendered - images).square().mean(dim=(1, 2, 3)).log10()
    ssim = [
        structural_similarity(a.numpy(), b.numpy(), channel_axis=0, data_range=1)  # type: ignore[no-untyped-call]
        for a, b in zip(images, rendered, strict=True)
    ]
    each = {f"psnr_db_{name}": float(value) for name, value in zip(photos, psnr, strict=True)}
    each |= {f"ssim_{name}": float(value) for name, value in zip(photos, ssim, strict=True)}
    return {"psnr_db": float(psnr.mean()), "ssim": float(np.mean(ssim)), **each}


def semantics(model: Stellar, labelled: Path) -> dict[str, float]:
    """kNN accuracies of mean token and CLS, beside an untrained model's and raw pixels.

    `emoji_group` (k = 20) and `emoji_concept` (k = 1, the same code point): gallery `noto`, which was
    trained on, queries `twemoji`, another hand's drawings, which were not. `stamp_folder` (k = 5): gallery
    stamps that were trained on, queries held-out ones.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        untrained = Stellar(model.config).eval()
    sets = {name: LabelledSet.read(labelled / name, model.config.image_size) for name in LABELLED_SETS}
    mean, cls = _features(model, sets)
    untrained_mean, untrained_cls = _features(untrained, sets)
    features = {"": mean, "_cls": cls, "_untrained": untrained_mean, "_untrained_cls": untrained_cls}
    features["_pixels"] = _pixels(sets)
    figures: dict[str, float] = {}
    for task, gallery, query, k in (
        ("emoji_group", "noto", "twemoji", 20),
        ("emoji_concept", "noto", "twemoji", 1),
        ("stamp_folder", "stamps-gallery", "stamps-query", 5),
    ):
        by_name = task == "emoji_concept"
        known, asked = _ids(*(sets[x].names if by_name else sets[x].labels for x in (gallery, query)))
        figures[f"{task}_chance"] = chance(known, asked)
        for suffix, embedded in features.items():
            accuracy = knn_accuracy(embedded[gallery], known, embedded[query], asked, k)
            figures[f"{task}_knn{suffix}"] = accuracy
    return figures


def show_evaluation(figures: dict[str, float]) -> None:
    """Print the figures as a table."""
    table = Table("figure", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)


def save_evaluation(model: Stellar, figures: dict[str, float], out: Path) -> None:
    """Write evaluation.json and grid.png."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n")
    draw_grid(model).save(out / "grid.png")


def _ids(known: list[str], asked: list[str]) -> tuple[Int[Tensor, " M"], Int[Tensor, " Q"]]:
    number = {label: i for i, label in enumerate(sorted({*known, *asked}))}
    return torch.tensor([number[x] for x in known]), torch.tensor([number[x] for x in asked])


Features = dict[str, Float[Tensor, "M D"]]
"""By the name of the set."""


@torch.no_grad()
def _features(model: Stellar, sets: dict[str, LabelledSet]) -> tuple[Features, Features]:
    """Mean token and CLS of every picture."""
    means: Features = {}
    classes: Features = {}
    for name, labelled in sets.items():
        batches = torch.split(labelled.images, BATCH_SIZE)
        encodings = [model.encode(batch) for batch in track(batches, f"Encoding {name}", transient=True)]
        means[name] = torch.cat([encoding.sparse.mean(dim=1) for encoding in encodings])
        classes[name] = torch.cat([encoding.cls[:, 0] for encoding in encodings])
    return means, classes


def _pixels(sets: dict[str, LabelledSet]) -> Features:
    """Raw pixels at 32×32, less the mean over their set."""
    size = RAW_SIDE, RAW_SIDE
    flat = {
        name: F.interpolate(labelled.images, size=size, mode="bilinear", antialias=True).flatten(1)
        for name, labelled in sets.items()
    }
    return {name: pixels - pixels.mean(dim=0) for name, pixels in flat.items()}

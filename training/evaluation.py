"""What a model is worth: reconstruction and edits on photos, kNN on labelled drawings, a picture to look at.

B batch · H, W pixels · N patches · r sparse tokens · D width · S side of the native size
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage.data
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from skimage.metrics import structural_similarity
from sklearn.datasets import load_sample_images
from torch import Tensor

from model import Stellar
from training.knn import chance, knn_accuracy

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
"""scikit-image's colour photos that come in its wheel; with scikit-learn's two they are never trained on."""

BATCH_SIZE = 64
LEAST_REGION = 0.02
"""Smaller regions than this share of the patches say nothing of an edit."""
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
        images = torch.stack([_square(Image.open(path), side) for path in paths])
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


def sample_photos(side: int) -> dict[str, Float[Tensor, "3 S S"]]:
    """The photos' middle squares at this size, RGB in [0, 1]."""
    arrays = {name: getattr(skimage.data, name)() for name in PHOTOS}
    arrays |= dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    return {name: _square(Image.fromarray(array), side) for name, array in arrays.items()}


@torch.no_grad()
def reconstruction(model: Stellar) -> dict[str, float]:
    """Mean PSNR in dB and SSIM of the sample photos, and each photo's PSNR."""
    photos = sample_photos(model.config.image_size)
    images = torch.stack(list(photos.values()))
    encoding, localization = model(images)
    rendered = model.render(encoding.sparse, localization)
    psnr = -10 * (rendered - images).square().mean(dim=(1, 2, 3)).log10()
    ssim = [
        structural_similarity(a.numpy(), b.numpy(), channel_axis=0, data_range=1)  # type: ignore[no-untyped-call]
        for a, b in zip(images, rendered, strict=True)
    ]
    each = {f"psnr_db_{name}": float(value) for name, value in zip(photos, psnr, strict=True)}
    return {"psnr_db": float(psnr.mean()), "ssim": float(np.mean(ssim)), **each}


@torch.no_grad()
def locality(model: Stellar) -> dict[str, float]:
    """How much more a dropped token changes its own region than the rest of the picture.

    A token's region is where it has the largest share; tokens of at least 2 % of the patches
    count. The ratio is that of the mean absolute changes, its median over tokens; the share is that of the
    squared change that lies inside, beside the share of the area, both means.
    """
    ratios, shares, areas = [], [], []
    patch = model.config.patch_size
    for image in sample_photos(model.config.image_size).values():
        encoding, localization = model(image[None])
        before = model.render(encoding.sparse, localization)
        regions = localization[0].argmax(dim=1)  # (N,)
        for token, count in zip(*(x.tolist() for x in regions.unique(return_counts=True)), strict=True):
            if not 0.02 * len(regions) <= count < len(regions):
                continue
            change = (
                (model.render(encoding.sparse, without(localization, token)) - before)[0].abs().mean(dim=0)
            )
            inside = (regions == token).view(model.config.grid)
            inside = inside.repeat_interleave(patch, 0).repeat_interleave(patch, 1)
            inside = F.interpolate(inside[None, None].float(), size=change.shape)[0, 0].bool()
            ratios.append(float(change[inside].mean() / change[~inside].mean().clamp(min=1e-6)))
            shares.append(float(change[inside].square().sum() / change.square().sum().clamp(min=1e-12)))
            areas.append(float(inside.float().mean()))
    return {
        "drop_change_inside_to_outside": float(np.median(ratios)),
        "drop_change_share_inside": float(np.mean(shares)),
        "drop_area_share": float(np.mean(areas)),
    }


def without(localization: Float[Tensor, "B N r"], token: int) -> Float[Tensor, "B N r"]:
    """L with a token dropped."""
    kept = localization.clone()
    kept[..., token] = 0
    return kept / kept.sum(dim=-1, keepdim=True)


def semantics(model: Stellar, labelled: Path) -> dict[str, float]:
    """kNN accuracies of mean token and CLS, beside an untrained model's mean token and raw pixels.

    `emoji_group` (k = 20) and `emoji_concept` (k = 1, the same code point): gallery `noto`, which was
    trained on, queries `twemoji`, another hand's drawings, which were not. `stamp_folder` (k = 5): gallery
    stamps that were trained on, queries held-out ones.
    """
    torch.manual_seed(0)
    untrained = Stellar(model.config).eval()
    sets = {name: LabelledSet.read(labelled / name, model.config.image_size) for name in LABELLED_SETS}
    mean, cls = _features(model, sets)
    features = {"": mean, "_cls": cls, "_untrained": _features(untrained, sets)[0], "_pixels": _pixels(sets)}
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
    """Write evaluation.json and evaluation.png."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n")
    picture(model).save(out / "evaluation.png")


@torch.no_grad()
def picture(model: Stellar) -> Image.Image:
    """A row for each sample photo: itself, reconstruction, its largest token dropped, and the change."""
    rows = []
    for image in sample_photos(model.config.image_size).values():
        encoding, localization = model(image[None])
        whole = model.render(encoding.sparse, localization)[0]
        largest = int(localization[0].argmax(dim=1).mode().values)
        edited = model.render(encoding.sparse, without(localization, largest))[0]
        if whole.shape != image.shape:
            image = F.interpolate(image[None], size=whole.shape[1:])[0]
        rows.append(torch.cat([image, whole, edited, (edited - whole).abs()], dim=2))
    pixels = (torch.cat(rows, dim=1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def _square(image: Image.Image, side: int) -> Float[Tensor, "3 S S"]:
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    small = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC, box=box, reducing_gap=3)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255


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

"""What a model is worth: reconstruction and edits on photos, kNN on labelled drawings, a picture to look at.

B batch · H, W pixels · M pictures of a set · Q queries · D width
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from rich.console import Console
from rich.progress import track
from rich.table import Table
from skimage.metrics import structural_similarity
from torch import Tensor

from model import Stellar
from service.tokens.size import ImageSize
from training.data.photos import middle, sample_photos
from training.data.pictures import read_whole
from training.evaluation.features import features
from training.evaluation.grid import draw_grid
from training.evaluation.knn import chance, knn_accuracy
from training.evaluation.locality import locality
from training.evaluation.numbers import same_number
from training.evaluation.reconstruction import reconstructed
from training.losses.pretrained import Pretrained

BATCH_SIZE = 64
RAW_SIDE = 32
"""Pixels are compared at 32×32: finer ones only make alignment matter more."""

COLOUR_BINS = 4
"""Of each channel, in a histogram of 64 colours."""
NUMBERED_PICTURES = 500
"""Each token of as many held-out pictures is compared with all tokens of the others."""

LABELLED_SETS = ("noto", "twemoji", "stamps-gallery", "stamps-query", "clipart-query")


class LabelledSet(NamedTuple):
    """Drawings, their labels (folders) and their names (file stems)."""

    images: Float[Tensor, "M 3 H W"]
    labels: list[str]
    names: list[str]

    @classmethod
    def read(cls, folder: Path, size: ImageSize) -> LabelledSet:
        """Read the middles of `folder/LABEL/NAME.png`.

        Raises `FileNotFoundError` where there are none, and `ValueError` for one that can't be read.
        """
        paths = sorted(folder.glob("*/*.png"))
        if not paths:
            raise FileNotFoundError(f"{folder}: expected pictures in LABEL/NAME.png, found none")
        images = torch.stack([middle(read_whole(path), size) for path in paths])
        return cls(images, [path.parent.name for path in paths], [path.stem for path in paths])


def measure(
    model: Stellar, labelled: Path | None = None, teacher: Pretrained | None = None
) -> dict[str, float]:
    """Every figure by its name; accuracies in [0, 1].

    kNN needs the labelled drawings that `stellar-train fetch` prepares: `labelled` is their folder. A teacher
    is judged on them, too.
    """
    model = model.eval()
    figures = reconstruction(model) | locality(model)
    if labelled is not None:
        figures |= semantics(model, labelled, teacher)
    return figures


@torch.no_grad()
def reconstruction(model: Stellar) -> dict[str, float]:
    """Mean PSNR in dB and SSIM of the sample photos, and each photo's, at the native size."""
    photos = sample_photos(model.config.size)
    images = torch.stack(list(photos.values()))
    rendered = reconstructed(model, images)
    psnr = -10 * (rendered - images).square().mean(dim=(1, 2, 3)).log10()
    ssim = [
        structural_similarity(a.numpy(), b.numpy(), channel_axis=0, data_range=1)  # type: ignore[no-untyped-call]
        for a, b in zip(images, rendered, strict=True)
    ]
    each = {f"psnr_db_{name}": float(value) for name, value in zip(photos, psnr, strict=True)}
    each |= {f"ssim_{name}": float(value) for name, value in zip(photos, ssim, strict=True)}
    return {"psnr_db": float(psnr.mean()), "ssim": float(np.mean(ssim)), **each}


def semantics(model: Stellar, labelled: Path, teacher: Pretrained | None = None) -> dict[str, float]:
    """kNN accuracies of mean token, all tokens and CLS, beside an untrained model's, raw pixels and colours.

    `emoji_group` (k = 20) and `emoji_concept` (k = 1, the same code point): gallery `noto`, which was
    trained on, queries `twemoji`, another hand's drawings, which were not. `stamp_folder` (k = 5): gallery
    stamps that were trained on, queries held-out ones. `clipart_topic` (k = 5): topics that were held out,
    each picture asked of all the others. All features are less the mean over their set.

    `token_same_number` tells of `twemoji` how often tokens carry their number (`same_number`),
    `token_same_number_centred` the same of tokens less their number's mean.
    """
    sets = {name: LabelledSet.read(labelled / name, model.config.size) for name in LABELLED_SETS}
    embedded = {"_pixels": _pixels(sets), "_colours": _colours(sets)}
    if teacher is not None:
        embedded["_teacher"] = _taught(labelled, teacher)
    for judged, suffix in ((model, ""), (untrained_like(model), "_untrained")):
        embedded |= {suffix + kind: found for kind, found in _features(judged, sets).items()}
    figures: dict[str, float] = {}
    for task, gallery, query, k in (
        ("emoji_group", "noto", "twemoji", 20),
        ("emoji_concept", "noto", "twemoji", 1),
        ("stamp_folder", "stamps-gallery", "stamps-query", 5),
        ("clipart_topic", "clipart-query", "clipart-query", 5),
    ):
        by_name = task == "emoji_concept"
        known, asked = _ids(*(sets[x].names if by_name else sets[x].labels for x in (gallery, query)))
        figures[f"{task}_chance"] = chance(known, asked)
        for suffix, found in embedded.items():
            figures[f"{task}_knn{suffix}"] = knn_accuracy(
                found[gallery], known, found[query], asked, k, leave_one_out=gallery == query
            )
    return figures | _numbers(model, sets["twemoji"])


def untrained_like(model: Stellar) -> Stellar:
    """A model of the same architecture and on the same device, with always the same random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Stellar(model.config).to(model.mean.device).eval()


def show_evaluation(figures: dict[str, float], missing: dict[str, str] | None = None) -> None:
    """Print the figures as a table, and below it what could not be measured."""
    table = Table("figure", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}")
    console = Console()
    console.print(table)
    for name, reason in (missing or {}).items():
        console.print(f"{name} was not measured: {reason}", markup=False, soft_wrap=True)


def save_evaluation(
    model: Stellar,
    figures: dict[str, float],
    out: Path,
    *,
    missing: dict[str, str] | None = None,
    images: Float[Tensor, "M 3 H W"] | None = None,
) -> None:
    """Write evaluation.json, and grid.png of these images or of the sample photos."""
    out.mkdir(parents=True, exist_ok=True)
    content = figures | ({"not_measured": missing} if missing else {})
    (out / "evaluation.json").write_text(json.dumps(content, indent=2) + "\n")
    draw_grid(model, images).save(out / "grid.png")


def _ids(known: list[str], asked: list[str]) -> tuple[Int[Tensor, " M"], Int[Tensor, " Q"]]:
    number = {label: i for i, label in enumerate(sorted({*known, *asked}))}
    return torch.tensor([number[x] for x in known]), torch.tensor([number[x] for x in asked])


Features = dict[str, Float[Tensor, "M D"]]
"""By the name of the set."""


@torch.no_grad()
def _features(model: Stellar, sets: dict[str, LabelledSet]) -> dict[str, Features]:
    """What `/embed` answers with each pooling, by the ending of a figure's name."""
    found: dict[str, Features] = {"": {}, "_tokens": {}, "_cls": {}}
    for name, labelled in sets.items():
        batches = torch.split(labelled.images, BATCH_SIZE)
        parts = [
            features(model.encode(batch)) for batch in track(batches, f"Encoding {name}", transient=True)
        ]
        for kind, embedded in zip(found, zip(*parts, strict=True), strict=False):  # but for the mean patch
            found[kind][name] = _centred(torch.cat(embedded))
    return found


def _pixels(sets: dict[str, LabelledSet]) -> Features:
    """Raw pixels at 32×32."""
    size = RAW_SIDE, RAW_SIDE
    return {
        name: _centred(F.interpolate(labelled.images, size=size, mode="bilinear", antialias=True).flatten(1))
        for name, labelled in sets.items()
    }


def _colours(sets: dict[str, LabelledSet]) -> Features:
    """Roots of the shares of 64 colours, whose distance is Hellinger's."""
    found = {}
    for name, labelled in sets.items():
        bins = (labelled.images * COLOUR_BINS).long().clamp(max=COLOUR_BINS - 1).flatten(2)  # (M, 3, H W)
        colours = (bins[:, 0] * COLOUR_BINS + bins[:, 1]) * COLOUR_BINS + bins[:, 2]
        counts = torch.zeros(len(colours), COLOUR_BINS**3)
        counts.scatter_add_(1, colours, torch.ones(colours.shape))
        found[name] = _centred((counts / colours.shape[1]).sqrt())
    return found


def _taught(labelled: Path, teacher: Pretrained) -> Features:
    """What a teacher sees in whole pictures."""
    found = {}
    for name in LABELLED_SETS:
        images = LabelledSet.read(labelled / name, teacher.size).images
        found[name] = _centred(torch.cat([teacher(batch).whole for batch in torch.split(images, BATCH_SIZE)]))
    return found


@torch.no_grad()
def _numbers(model: Stellar, labelled: LabelledSet) -> dict[str, float]:
    order = torch.randperm(len(labelled.images), generator=torch.Generator().manual_seed(0))
    images = labelled.images[order[:NUMBERED_PICTURES]]
    tokens = torch.cat([model.encode(batch).sparse for batch in torch.split(images, BATCH_SIZE)])
    return {
        "token_same_number": same_number(tokens),
        "token_same_number_centred": same_number(tokens - tokens.mean(dim=0)),
    }


def _centred(features: Float[Tensor, "M D"]) -> Float[Tensor, "M D"]:
    return features - features.mean(dim=0)

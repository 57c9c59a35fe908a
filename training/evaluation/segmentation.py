"""A segmentation probe: a linear head on frozen features of patches learns label maps.

M pictures · N = h·w patches · D features of a patch · H, W pixels of a picture and its map · C classes
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn
from torchmetrics.classification import MulticlassJaccardIndex

from model import Stellar
from service.tokens.files import pictures_within
from service.tokens.size import ImageSize, sides
from training.data.labelled import UNLABELLED
from training.data.photos import middle, middle_box
from training.data.pictures import read_whole

Kind = Literal["dense", "localization", "colour"]
"""What the head sees of a patch: its feature, its shares of the tokens, or its mean colour."""

BATCH_SIZE = 64
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-4


class Maps(NamedTuple):
    """Pictures in [0, 1] with the class of every pixel."""

    images: Float[Tensor, "M 3 H W"]
    labels: UInt8[Tensor, "M H W"]

    @classmethod
    def read(cls, folder: Path, size: ImageSize) -> Maps:
        """Read the middles of `folder/images/NAME.*`, and of their maps `folder/labels/NAME.png`.

        A map is grey or has a palette: its values are classes from 0 on, 255 stands for none.
        Raises `ValueError` where there are none and for a broken picture, and what Pillow does for a broken
        map.
        """
        maps = {path.stem: path for path in folder.glob("labels/*.png")}
        names = pictures_within(folder / "images")[0] if (folder / "images").is_dir() else []
        images = [folder / "images" / name for name in names if name.rpartition(".")[0] in maps]
        if not images:
            raise ValueError(f"{folder}: expected pictures in images/NAME.* and labels/NAME.png, got none")
        return cls(
            torch.stack([middle(read_whole(path), size) for path in images]),
            torch.stack([_read_map(maps[path.stem], size) for path in images]),
        )


def segmentation(model: Stellar, untrained: Stellar, folder: Path, *, steps: int) -> dict[str, float]:
    """Mean intersection over union in [0, 1] on `folder/test` of heads trained on `folder/train`.

    For `dense` and `localization`, for the same of an untrained model, for colours, and for always answering
    the most frequent class (`miou_constant`). Raises as `Maps.read` does.
    """
    train, test = (Maps.read(folder / part, model.config.size) for part in ("train", "test"))
    known = train.labels[train.labels != UNLABELLED]
    num_classes = 1 + int(max(known.max(), test.labels[test.labels != UNLABELLED].max()))
    constant = F.one_hot(known.mode().values.long(), num_classes).float()
    constant_logits = constant[None, None].expand(len(test.images), 1, -1)
    figures = {}
    for name, judged, kind in (
        ("dense", model, "dense"),
        ("localization", model, "localization"),
        ("dense_untrained", untrained, "dense"),
        ("localization_untrained", untrained, "localization"),
        ("colour", model, "colour"),
    ):
        features, queries = (patch_features(judged, maps.images, kind) for maps in (train, test))  # type: ignore[arg-type]
        head = train_head(features, train.labels, num_classes, steps)
        figures[f"miou_{name}"] = mean_iou(head, queries, test.labels)
    figures["miou_constant"] = _iou(constant_logits, test.labels)
    return figures


@torch.no_grad()
def patch_features(model: Stellar, images: Float[Tensor, "M 3 H W"], kind: Kind) -> Float[Tensor, "M N D"]:
    """Frozen features of every patch, on the CPU."""
    if kind == "colour":
        return F.avg_pool2d(images, model.config.patch_size).flatten(2).transpose(1, 2)
    parts = []
    for batch in images.split(BATCH_SIZE):  # type: ignore[no-untyped-call]
        encoding, localization = model(batch.to(model.mean.device))
        parts.append((encoding.dense if kind == "dense" else localization).cpu())
    return torch.cat(parts)


class Head(nn.Module):
    """Standardises features, and scores every patch for every class."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: Float[Tensor, "M N D"], num_classes: int) -> None:
        super().__init__()
        flat = features.flatten(0, 1)
        self.register_buffer("mean", flat.mean(dim=0))
        self.register_buffer("deviation", flat.std(dim=0) + 1e-6)
        self.scores = nn.Linear(flat.shape[1], num_classes)
        nn.init.zeros_(self.scores.weight)
        nn.init.zeros_(self.scores.bias)

    def forward(self, features: Float[Tensor, "B N D"]) -> Float[Tensor, "B N C"]:
        return self.scores((features - self.mean) / self.deviation)  # type: ignore[no-any-return]


def train_head(
    features: Float[Tensor, "M N D"], labels: UInt8[Tensor, "M H W"], num_classes: int, steps: int
) -> Head:
    """A head trained with AdamW on the cross-entropy of every labelled pixel, always with the same draws."""
    head = Head(features, num_classes)
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    draw = torch.Generator().manual_seed(0)
    for _ in range(steps):
        index = torch.randperm(len(features), generator=draw)[:BATCH_SIZE]
        wanted = labels[index]
        scores = _to_pixels(head(features[index]), wanted.shape[1:])
        loss = F.cross_entropy(scores, wanted.long(), ignore_index=UNLABELLED)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return head


@torch.no_grad()
def mean_iou(head: Head, features: Float[Tensor, "M N D"], labels: UInt8[Tensor, "M H W"]) -> float:
    """Mean over classes of intersection over union, counted over the pixels of all pictures."""
    return _iou(head(features), labels)


def _iou(scores: Float[Tensor, "M N C"], labels: UInt8[Tensor, "M H W"]) -> float:
    measured = MulticlassJaccardIndex(scores.shape[2], ignore_index=UNLABELLED)
    for part, wanted in zip(scores.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True):  # type: ignore[no-untyped-call]
        measured.update(_to_pixels(part, wanted.shape[1:]).argmax(dim=1), wanted.long())
    return float(measured.compute())


def _to_pixels(scores: Float[Tensor, "B N C"], size: torch.Size) -> Float[Tensor, "B C H W"]:
    """Scores of patches, which are squares, as scores of H×W pixels, in between linearly."""
    patch = math.isqrt(math.prod(size) // scores.shape[1])
    grid = [side // patch for side in size]
    plane = scores.transpose(1, 2).reshape(scores.shape[0], -1, *grid)
    return F.interpolate(plane, size=size, mode="bilinear")


def _read_map(path: Path, size: ImageSize) -> UInt8[Tensor, "H W"]:
    with Image.open(path) as image:
        box = middle_box(image, size)
        return torch.from_numpy(np.array(image.resize(sides(size)[::-1], Image.Resampling.NEAREST, box=box)))

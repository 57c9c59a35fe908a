"""What frozen features say of labelled pictures: weighted kNN and a linear probe on each kind of them."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from model import Stellar
from service.tokens.size import ImageSize
from training.data.labelled import label_ids, labelled_batches
from training.evaluation.features import KINDS, Features, extract
from training.evaluation.knn import chance, knn_accuracy
from training.evaluation.linear_probe import linear_probe

NEIGHBOURS = 20
RAW_SIDE = 32
"""Pixels are compared where the longer side has 32, or at the model's size if that is smaller."""


def labelled_semantics(model: Stellar, untrained: Stellar, pictures: Path) -> dict[str, float]:
    """Accuracies in [0, 1] on `pictures/test` of judges that know `pictures/train`, by judge and features.

    `linear_…` and `knn_…` of every kind of feature, of the untrained model's, and of raw pixels; `chance`
    always answers the most frequent label; `unreadable` counts pictures that could not be read.
    Raises `ValueError` where a part has no labelled pictures.
    """
    figures: dict[str, float] = {}
    for judged, suffix in ((model, ""), (untrained, "_untrained")):
        known, asked = extract(judged, pictures / "train"), extract(judged, pictures / "test")
        for judge, rates in accuracies(known, asked).items():
            figures |= {f"{judge}_{kind}{suffix}": rate for kind, rate in rates.items()}
    scale = min(1, RAW_SIDE / max(model.config.size))
    height, width = (max(1, round(scale * side)) for side in model.config.size)
    raw_known, raw_asked = (raw_pixels(pictures / part, (height, width)) for part in ("train", "test"))
    for judge, rate in _judged(known, asked, raw_known, raw_asked).items():
        figures[f"{judge}_pixels"] = rate
    figures["chance"] = chance(*label_ids(known.labels, asked.labels))
    figures["unreadable"] = known.unreadable + asked.unreadable
    return figures


def accuracies(known: Features, asked: Features) -> dict[str, dict[str, float]]:
    """`linear` and `knn` (k = 20), each of every kind of feature."""
    by_kind = {kind: _judged(known, asked, getattr(known, kind), getattr(asked, kind)) for kind in KINDS}
    return {judge: {kind: by_kind[kind][judge] for kind in KINDS} for judge in ("linear", "knn")}


def raw_pixels(pictures: Path, size: ImageSize) -> Float[Tensor, "M D"]:
    """The colours of every picture of a set, as features."""
    batches = labelled_batches(pictures, size, 256)
    return torch.cat([F.normalize(batch.images.flatten(1)) for batch in batches])


def _judged(
    known: Features, asked: Features, features: Float[Tensor, "M D"], queries: Float[Tensor, "Q D"]
) -> dict[str, float]:
    labels, wanted = label_ids(known.labels, asked.labels)
    centre = features.mean(dim=0)
    return {
        "linear": linear_probe(features, labels, queries, wanted),
        "knn": knn_accuracy(features - centre, labels, queries - centre, wanted, NEIGHBOURS),
    }

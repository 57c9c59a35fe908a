"""Frozen features of labelled pictures: the mean token, all tokens, CLS and the mean patch.

M pictures · B pictures of a batch · r sparse tokens · D width
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor

from model import Encoding, Stellar
from training.data.labelled import labelled_batches

BATCH_SIZE = 256
KINDS = ("mean", "tokens", "cls", "dense")
"""The names of the features, as in `Features`."""


class Features(NamedTuple):
    """What a model says of each picture of a set."""

    mean: Float[Tensor, "M D"]
    """Mean of the sparse tokens, which `/embed` answers."""
    tokens: Float[Tensor, "M rD"]
    """The sparse tokens one after the other: each has a query of its own, so its place means something."""
    cls: Float[Tensor, "M D"]
    dense: Float[Tensor, "M D"]
    """Mean of the patches."""
    labels: list[str]
    unreadable: int
    """Pictures that were left out, because they could not be read."""


@torch.no_grad()
def extract(model: Stellar, pictures: Path) -> Features:
    """Features of all pictures at the model's native size, on the model's device; they come to the CPU.

    Raises `ValueError` where there are no labelled pictures.
    """
    device = model.mean.device
    parts: list[tuple[Tensor, ...]] = []
    labels: list[str] = []
    unreadable = 0
    batches = labelled_batches(pictures, model.config.size, BATCH_SIZE)
    for batch in track(batches, f"Encoding {pictures.name}", total=None, transient=True):
        parts.append(tuple(feature.cpu() for feature in features(model.encode(batch.images.to(device)))))
        labels += batch.labels
        unreadable += batch.unreadable
    mean, tokens, cls, dense = (torch.cat(part) for part in zip(*parts, strict=True))
    return Features(mean, tokens, cls, dense, labels, unreadable)


def features(encoding: Encoding) -> tuple[Float[Tensor, "B _"], ...]:
    """What is judged of a batch, in the order of `KINDS`."""
    sparse = encoding.sparse
    return sparse.mean(dim=1), sparse.flatten(1), encoding.cls[:, 0], encoding.dense.mean(dim=1)

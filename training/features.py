"""Frozen features of labelled pictures: the mean token, CLS and the mean patch.

M pictures · D width
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor

from model import Stellar
from training.labelled import labelled_batches

BATCH_SIZE = 256


class Features(NamedTuple):
    """What a model says of each picture of a set."""

    mean: Float[Tensor, "M D"]
    """Mean of the sparse tokens, which `/embed` answers."""
    cls: Float[Tensor, "M D"]
    dense: Float[Tensor, "M D"]
    """Mean of the patches."""
    labels: list[str]


@torch.no_grad()
def extract(model: Stellar, pictures: Path) -> Features:
    """Features of all pictures at the model's native size, on the model's device; they come to the CPU.

    Raises `ValueError` where there are no labelled pictures.
    """
    device = model.mean.device
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    labels: list[str] = []
    batches = labelled_batches(pictures, model.config.image_size, BATCH_SIZE)
    for batch in track(batches, f"Encoding {pictures.name}", total=None, transient=True):
        encoding = model.encode(batch.images.to(device))
        parts.append(
            (encoding.sparse.mean(dim=1).cpu(), encoding.cls[:, 0].cpu(), encoding.dense.mean(dim=1).cpu())
        )
        labels += batch.labels
    mean, cls, dense = (torch.cat(part) for part in zip(*parts, strict=True))
    return Features(mean, cls, dense, labels)

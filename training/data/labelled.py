"""Pictures with labels, read one batch after the other: what features are judged on.

B batch · S side of a picture
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from service.tokens.pictures import open_picture
from training.data.photos import middle_square
from training.data.pictures import BROKEN
from training.data.streams import SHARD_KINDS

LABEL_COLUMNS = ("label", "labels", "class", "cls", "fine_label")
UNLABELLED = 255
"""Pixels of this class in a map of labels count neither in training nor in the test."""


class LabelledBatch(NamedTuple):
    """Pictures in [0, 1], their middle squares, and the label of each."""

    images: Float[Tensor, "B 3 S S"]
    labels: list[str]
    unreadable: int
    """Pictures left out beside these, because they could not be read."""


def labelled_batches(pictures: Path, side: int, batch_size: int, threads: int = 2) -> Iterator[LabelledBatch]:
    """All pictures of `pictures/LABEL/NAME`, or of the Parquet files or WebDataset archives in it, in order.

    Those that can't be read are left out and counted.
    Raises `ValueError` where there are none, none with labels, or none that can be read.
    """
    dataset, label = _open(pictures)
    name = getattr(dataset.features[label], "int2str", str)
    rows, ready, unreadable = iter(dataset), None, 0
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        while chunk := list(islice(rows, batch_size)):
            decoded = list(pool.map(lambda row: _decode(row["picture"], side), chunk))
            images = [image for image in decoded if image is not None]
            labels = [
                name(row[label]) for row, image in zip(chunk, decoded, strict=True) if image is not None
            ]
            unreadable += len(chunk) - len(images)
            if not images:
                continue
            if ready is not None:
                yield ready
            ready, unreadable = LabelledBatch(torch.stack(images), labels, unreadable), 0
    if ready is None:
        raise ValueError(f"{pictures}: none of {unreadable} pictures could be read")
    yield ready._replace(unreadable=ready.unreadable + unreadable)


def examples(pictures: Path, side: int, count: int) -> Float[Tensor, "M 3 S S"]:
    """The first picture of each label, of `count` labels at most. Raises as `labelled_batches` does."""
    found: dict[str, Tensor] = {}
    for batch in labelled_batches(pictures, side, 256):
        for label, image in zip(batch.labels, batch.images, strict=True):
            found.setdefault(label, image)
        if len(found) >= count:
            break
    return torch.stack(list(found.values())[:count])


def label_ids(*sets: list[str]) -> list[Int[Tensor, " _"]]:
    """The labels of several sets as numbers, the same label the same number."""
    number = {label: i for i, label in enumerate(sorted(set().union(*sets)))}
    return [torch.tensor([number[label] for label in labels]) for labels in sets]


def _open(pictures: Path) -> tuple[Any, str]:
    """A streaming dataset with encoded pictures in `picture`, and its column of labels."""
    from datasets import Image as ImageFeature
    from datasets import load_dataset

    shards = sorted(str(path) for path in pictures.glob("*") if path.suffix in SHARD_KINDS)
    try:
        if shards:
            kind = SHARD_KINDS[Path(shards[0]).suffix]
            dataset: Any = load_dataset(kind, data_files=shards, split="train", streaming=True)
        else:
            dataset = load_dataset("imagefolder", data_dir=str(pictures), split="train", streaming=True)
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(
            f"expected labelled pictures in {pictures}, in LABEL/NAME or shards: {error}"
        ) from None
    columns = dataset.features or {}
    label = next((column for column in LABEL_COLUMNS if column in columns), None)
    image = next((column for column in ("image", "jpg", "png", "webp", "img") if column in columns), None)
    if label is None or image is None:
        raise ValueError(f"{pictures}: expected columns image and label, got {', '.join(columns)}")
    undecoded = dataset.cast_column(image, ImageFeature(decode=False))  # first, or renaming decodes pictures
    return undecoded.rename_column(image, "picture"), label


def _decode(picture: dict[str, Any], side: int) -> Float[Tensor, "3 S S"] | None:
    """One picture, or None where it can't be read."""
    try:
        return middle_square(open_picture(picture["bytes"] or Path(picture["path"])), side)
    except BROKEN:
        return None

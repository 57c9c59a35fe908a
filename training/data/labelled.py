"""Pictures with labels, read one batch after the other: what features are judged on.

B batch · H, W pixels of a picture
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

from service.tokens.files import suffix_of
from service.tokens.pictures import open_picture
from service.tokens.size import ImageSize
from training.data.found import SHARD_KINDS, find
from training.data.photos import middle
from training.data.pictures import BROKEN

LABEL_COLUMNS = ("label", "labels", "class", "cls", "fine_label")
UNLABELLED = 255
"""Pixels of this class in a map of labels count neither in training nor in the test."""


class LabelledBatch(NamedTuple):
    """The middles of pictures in [0, 1], and the label of each."""

    images: Float[Tensor, "B 3 H W"]
    labels: list[str]
    unreadable: int
    """Pictures left out beside these, because they could not be read."""


def labelled_batches(
    pictures: Path, size: ImageSize, batch_size: int, threads: int = 2
) -> Iterator[LabelledBatch]:
    """All pictures of `pictures/LABEL/NAME`, or of the Parquet files or WebDataset archives in it, in order.

    Those that can't be read are left out and counted.
    Raises `ValueError` where there are none, none with labels, or none that can be read.
    """
    rows, ready, unreadable = _rows(pictures), None, 0
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        while chunk := list(islice(rows, batch_size)):
            decoded = list(pool.map(lambda row: _decode(row[0], size), chunk))
            images = [image for image in decoded if image is not None]
            labels = [label for (_, label), image in zip(chunk, decoded, strict=True) if image is not None]
            unreadable += len(chunk) - len(images)
            if not images:
                continue
            if ready is not None:
                yield ready
            ready, unreadable = LabelledBatch(torch.stack(images), labels, unreadable), 0
    if ready is None:
        raise ValueError(f"{pictures}: none of {unreadable} pictures could be read")
    yield ready._replace(unreadable=ready.unreadable + unreadable)


def examples(pictures: Path, size: ImageSize, count: int) -> Float[Tensor, "M 3 H W"]:
    """The first picture of each label, of `count` labels at most. Raises as `labelled_batches` does."""
    found: dict[str, Tensor] = {}
    for batch in labelled_batches(pictures, size, 256):
        for label, image in zip(batch.labels, batch.images, strict=True):
            found.setdefault(label, image)
        if len(found) >= count:
            break
    return torch.stack(list(found.values())[:count])


def label_ids(*sets: list[str]) -> list[Int[Tensor, " _"]]:
    """The labels of several sets as numbers, the same label the same number."""
    number = {label: i for i, label in enumerate(sorted(set().union(*sets)))}
    return [torch.tensor([number[label] for label in labels]) for labels in sets]


def _rows(pictures: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Encoded pictures, as bytes or a path, with their labels."""
    found = find(str(pictures))
    for path in found.paths:
        if path.parent == pictures:
            raise ValueError(f"{pictures}: expected pictures in LABEL/NAME, got {path.name} without a label")
        yield {"bytes": None, "path": path}, path.parent.name
    if found.shards:
        yield from _rows_of_shards(pictures, found.shards)
    elif not found.paths:
        also = found.left_out and f"; {found.left_out}"
        raise ValueError(f"{pictures}: expected labelled pictures in LABEL/NAME, or shards{also}")


def _rows_of_shards(pictures: Path, shards: list[str]) -> Iterator[tuple[dict[str, Any], str]]:
    from datasets import Image as ImageFeature
    from datasets import load_dataset

    kind = SHARD_KINDS[suffix_of(shards[0])]
    try:
        dataset: Any = load_dataset(kind, data_files=shards, split="train", streaming=True)
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(f"{pictures}: the shards can't be read: {error}") from None
    columns = dataset.features or {}
    label = next((column for column in LABEL_COLUMNS if column in columns), None)
    image = next((column for column in ("image", "jpg", "png", "webp", "img") if column in columns), None)
    if label is None or image is None:
        raise ValueError(f"{pictures}: expected columns image and label, got {', '.join(columns)}")
    undecoded = dataset.cast_column(image, ImageFeature(decode=False))
    name = getattr(columns[label], "int2str", str)
    for row in undecoded:
        yield row[image], name(row[label])


def _decode(picture: dict[str, Any], size: ImageSize) -> Float[Tensor, "3 H W"] | None:
    """One picture, or None where it can't be read."""
    try:
        return middle(open_picture(picture["bytes"] or Path(picture["path"])), size)
    except BROKEN:
        return None

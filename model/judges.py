"""What tells a good vector from another on pictures that it was not made of: two views of one, or labels.

M pictures · D width
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from service.tokens.files import pictures_within
from service.tokens.pictures import MAX_PIXELS, decode_image
from service.tokens.pooling import normalized
from service.tokens.size import ImageSize, sides

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]

NEIGHBOURS = 5
TEMPERATURE = 0.07
"""A vote weighs exp(cosine / 0.07), as in weighted kNN (Wu et al. 2018)."""
LEAST_SIDE = 0.55
"""Of a view, over the picture's side."""


class Judge(Protocol):
    """Pictures to encode, and what their vectors are worth."""

    name: str

    @property
    def pictures(self) -> Sequence[tuple[Path, int]]:
        """Files, and the number of the view of each."""
        ...

    def pixels(self, picture: tuple[Path, int], size: ImageSize) -> Pixels:
        """A picture as the model sees it (H, W, 3). Raises `ServiceError` where it can't be read."""
        ...

    def found(self, pictures: Sequence[tuple[Path, int]], vectors: Vectors) -> float:
        """Share in [0, 1] that vectors (M, D) of these pictures find rightly by their cosines.

        Raises `ValueError` where there are too few.
        """
        ...


class Views:
    """Of each picture two pieces in other colours, maybe mirrored; one is to find the other."""

    name = "views"

    def __init__(self, paths: Sequence[Path]) -> None:
        self.pictures = [(path, view) for path in paths for view in (0, 1)]

    def pixels(self, picture: tuple[Path, int], size: ImageSize) -> Pixels:
        """See `Judge`; a picture's views are always the same."""
        path, view = picture
        draw = random.Random(f"{path.name} {view}")  # noqa: S311 # no secret
        height, width = sides(size)
        larger = height * 4 // 3, width * 4 // 3
        whole = Image.fromarray(decode_image(path.read_bytes(), larger, "crop", MAX_PIXELS).pixels)
        share = draw.uniform(LEAST_SIDE, 1)
        across, down = share * whole.width, share * whole.height
        left, top = draw.uniform(0, whole.width - across), draw.uniform(0, whole.height - down)
        box = (left, top, left + across, top + down)
        seen = whole.resize((width, height), Image.Resampling.BICUBIC, box)
        if draw.random() < 0.5:
            seen = seen.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        seen = ImageEnhance.Brightness(seen).enhance(draw.uniform(0.7, 1.3))
        return np.asarray(ImageEnhance.Color(seen).enhance(draw.uniform(0.5, 1.5)))

    def found(self, pictures: Sequence[tuple[Path, int]], vectors: Vectors) -> float:
        """See `Judge`."""
        where = {picture: i for i, picture in enumerate(pictures)}
        both = [(i, where[path, 1]) for (path, view), i in where.items() if not view and (path, 1) in where]
        if not both:
            raise ValueError("none of the pictures that are held out can be read")
        first, second = (normalized(vectors[list(each)]) for each in zip(*both, strict=True))
        nearest = (first @ second.T).argmax(axis=1)
        return float((nearest == np.arange(len(both))).mean())


class Labels:
    """Pictures in folders that are their labels; the nearest five others are to have the same."""

    name = "labels"

    def __init__(self, folder: Path) -> None:
        """Raises `ValueError` where there are not two labels, and `OSError`."""
        names = [name for name in pictures_within(folder)[0] if "/" in name]
        self.pictures = [(folder / name, 0) for name in names]
        if len({path.parent for path, _ in self.pictures}) < 2:
            raise ValueError(f"{folder}: expected pictures in two folders or more, which are their labels")

    def pixels(self, picture: tuple[Path, int], size: ImageSize) -> Pixels:
        """See `Judge`."""
        return whole(picture[0], size)

    def found(self, pictures: Sequence[tuple[Path, int]], vectors: Vectors) -> float:
        """See `Judge`."""
        return neighbours_agree([path.parent.as_posix() for path, _ in pictures], vectors)


def neighbours_agree(labels: Sequence[str], vectors: Vectors) -> float:
    """Share in [0, 1] of vectors (M, D) whose five nearest others vote for their own label.

    Raises `ValueError` where there are not so many.
    """
    if len(vectors) <= NEIGHBOURS:
        raise ValueError(f"expected more than {NEIGHBOURS} labelled pictures that can be read")
    _, numbers = np.unique(labels, return_inverse=True)
    unit = normalized(vectors)
    right = 0
    for i, vector in enumerate(unit):
        cosines = unit @ vector
        cosines[i] = -np.inf
        nearest = np.argsort(-cosines)[:NEIGHBOURS]
        votes = np.bincount(numbers[nearest], np.exp(cosines[nearest] / TEMPERATURE))
        right += int(votes.argmax() == numbers[i])
    return right / len(unit)


def whole(path: Path, size: ImageSize) -> Pixels:
    """A picture as it is served, (H, W, 3). Raises `ServiceError` and `OSError` where it can't be read."""
    return decode_image(path.read_bytes(), size, "crop", MAX_PIXELS).pixels

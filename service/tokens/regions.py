"""Regions: the token that holds most of each place, in the pixels of the picture that was sent.

H, W pixels · h, w grid · r sparse tokens
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.tokens.pictures import Source
from service.tokens.types import Floats

NOWHERE = -1
"""In the place of a patch or a token, where the model did not look."""


class Region(NamedTuple):
    """Where a token holds more than any other."""

    token: int
    share: float
    """What it holds of it, on average."""
    mask: NDArray[np.uint8]
    """(H, W), column by column: 1 within, 0 elsewhere."""


def regions(localization: Floats, source: Source) -> Iterator[Region]:
    """The regions of one picture's tokens, (h, w, r); of none that has no pixel.

    A pixel is of the patch that its middle lies in. What the model did not see of the picture is of none.
    """
    h, w, _ = localization.shape
    left, top, right, bottom = source.rectangle
    rows = _patches(source.height, (top, bottom), (source.box[1], source.box[3]), h)
    columns = _patches(source.width, (left, right), (source.box[0], source.box[2]), w)
    largest = np.full((h + 1, w + 1), NOWHERE, np.int16)  # the last ones are what `NOWHERE` leads to
    largest[:h, :w] = localization.argmax(axis=2)
    owner = np.asfortranarray(largest[rows][:, columns])  # (H, W)
    pixels = np.outer(
        *(np.bincount(place[place >= 0], minlength=n) for place, n in ((rows, h), (columns, w)))
    )
    for token in np.unique(largest[:h, :w][pixels > 0]).tolist():
        weights = pixels * (largest[:h, :w] == token)
        share = float(np.average(localization[..., token], weights=weights))
        yield Region(token, share, (owner == token).view(np.uint8))


def _patches(
    length: int, seen: tuple[float, float], box: tuple[float, float], count: int
) -> NDArray[np.int64]:
    """The row or column of patches of each pixel along a side, of `count` between the ends of `seen`.

    `NOWHERE` outside of it and of the box: there the model saw a margin, if anything.
    """
    middles = np.arange(length) + 0.5
    start, end = seen
    patches = np.floor((middles - start) / (end - start) * count).astype(np.int64)
    inside = (max(start, box[0]) <= middles) & (middles < min(end, box[1]))
    return np.where(inside, patches, NOWHERE)

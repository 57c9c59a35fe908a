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
    counts: NDArray[np.int64]
    """COCO's run lengths: of pixels outside and within by turns, from outside on, column by column."""


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
    # A column of pixels changes only where its patches do: in h + 2 runs at most.
    tops = np.flatnonzero(np.diff(rows, prepend=rows[0] - 1))
    owner = largest[rows[tops]].T[columns].ravel()  # (W · runs)
    pixels = np.outer(
        *(np.bincount(place[place >= 0], minlength=n) for place, n in ((rows, h), (columns, w)))
    )
    for token in np.unique(largest[:h, :w][pixels > 0]).tolist():
        weights = pixels * (largest[:h, :w] == token)
        share = float(np.average(localization[..., token], weights=weights))
        column, run = np.divmod(np.flatnonzero(np.diff(owner == token, prepend=False)), len(tops))
        ends = column * source.height + tops[run]
        yield Region(token, share, np.diff(ends, prepend=0, append=source.width * source.height))


def _patches(
    length: int, seen: tuple[float, float], box: tuple[float, float], count: int
) -> NDArray[np.int64]:
    """The row or column of patches of each pixel along a side, of `count` between the ends of `seen`.

    `NOWHERE` outside of it and of the box: there the model saw a margin, if anything.
    """
    middles = np.arange(length) + 0.5
    start, end = seen
    shares = (middles - start) / (end - start)  # rounded, the last may be 1
    patches = np.minimum(np.floor(shares * count), count - 1).astype(np.int64)
    inside = (max(start, box[0]) <= middles) & (middles < min(end, box[1]))
    return np.where(inside, patches, NOWHERE)

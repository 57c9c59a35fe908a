"""From images' tokens to the vectors that stand for them.

N patches · r sparse tokens · D width
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from service.tokens.types import Floats

Pooled = Literal["mean", "shares", "cls"]
"""What is whitened: the mean of the tokens, the same weighted by their shares of the picture, or CLS."""
POOLED: tuple[Pooled, ...] = get_args(Pooled)


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """What was measured of a model's vectors over many pictures; see `docs/inside/bundle.md`."""

    token_means: Floats
    """(r, D): of each token number."""
    pooled: Pooled
    center: Floats
    """(D,): the mean of `pooled`."""
    whitening: Floats
    """(D, D): what makes its spread the same in every direction, or nearly so."""

    def concepts(self, semantics: Floats) -> Floats:
        """Tokens (…, r, D) less the mean of their number: what a token shows, rather than which one it is."""
        return semantics - self.token_means

    def whitened(self, semantics: Floats, localization: Floats, cls: Floats) -> Floats:
        """The vector (D,) for search of one image's tokens (r, D), their places (N, r) and CLS (D,)."""
        vector = pooled_of(self.pooled, semantics, localization, cls) - self.center
        # BLAS would wake threads for so little, and round as its kernel for this machine does.
        whitened: Floats = np.einsum("d,de->e", vector, self.whitening)
        return whitened


def pooled_of(pooled: Pooled, semantics: Floats, localization: Floats, cls: Floats) -> Floats:
    """The vector (D,) of one image's tokens (r, D), their places (N, r) and CLS (D,)."""
    if pooled == "mean":
        return mean_of(semantics)
    if pooled == "shares":
        weighted: Floats = np.einsum("r,rd->d", mean_of(localization), semantics)
        return weighted
    return cls


def placed(localization: Floats) -> list[int]:
    """The tokens that have a place, from shares (…, r): the largest one of some patch."""
    flat = localization.reshape(-1, localization.shape[-1])
    return [int(k) for k in np.unique(flat.argmax(axis=-1))]


def mean_of(rows: Floats) -> Floats:
    """The mean of rows (…, n, D), such as tokens, as (…, D)."""
    # `mean` takes three times as long for so few numbers.
    mean: Floats = np.add.reduce(rows, axis=-2) / np.float32(rows.shape[-2])
    return mean


def normalized(vectors: Floats) -> Floats:
    """Vectors (…, D) of length 1."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Floats = vectors / np.maximum(lengths, np.float32(1e-12))
    return scaled

"""From images' tokens to the vectors that stand for them.

r sparse tokens · D width
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:  # clients know poolings without what runs models
    from service.tokens.types import Floats

Pooling = Literal["mean", "cls", "tokens"]
"""The mean of the tokens or the CLS token, (D,), or every token, (r, D)."""


def mean_of(semantics: Floats) -> Floats:
    """The mean of tokens (…, r, D) as (…, D)."""
    # `mean` takes three times as long for so few numbers.
    mean: Floats = np.add.reduce(semantics, axis=-2) / np.float32(semantics.shape[-2])
    return mean


def normalized(vectors: Floats) -> Floats:
    """Vectors (…, D) of length 1."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Floats = vectors / np.maximum(lengths, np.float32(1e-12))
    return scaled

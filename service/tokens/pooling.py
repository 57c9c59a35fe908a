"""From an image's tokens to the vector that stands for it.

r sparse tokens · D width
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:  # clients know poolings without what runs models
    from service.tokens.types import Floats, Tokens

Pooling = Literal["mean", "cls", "tokens"]


def pooled(tokens: Tokens, pooling: Pooling, *, normalize: bool) -> Floats:
    """The mean of the tokens or the CLS token, (D,), or every token, (r, D); scaled to length 1 on demand."""
    vectors: Floats
    if pooling == "mean":
        # `mean` takes three times as long for so few numbers.
        vectors = np.add.reduce(tokens.semantics, axis=0) / np.float32(len(tokens.semantics))
    else:
        vectors = tokens.cls if pooling == "cls" else tokens.semantics
    if normalize:
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
        vectors = vectors / np.maximum(lengths, np.float32(1e-12))
    return vectors

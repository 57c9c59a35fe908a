"""From an image's tokens to the vector that stands for it.

r sparse tokens · D width
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:  # clients know poolings without what runs models
    from service.models import Floats, Tokens

Pooling = Literal["mean", "cls", "tokens"]


def pooled(tokens: Tokens, pooling: Pooling, *, normalize: bool) -> Floats:
    """The mean of the tokens or the CLS token, (D,), or every token, (r, D); scaled to length 1 on demand."""
    vectors: Floats = {
        "mean": tokens.semantics.mean(axis=0),
        "cls": tokens.cls,
        "tokens": tokens.semantics,
    }[pooling]
    if normalize:
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return vectors

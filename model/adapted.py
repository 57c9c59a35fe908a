"""A model for pictures of another size or with other tokens: its weights, as far as they can stay."""

from __future__ import annotations

from dataclasses import replace

import torch

from model.stellar import Stellar
from service.tokens.size import ImageSize

POSITIONS, TOKENS = "embedding.positions", "sparse_tokens"


def adapted(model: Stellar, *, image_size: ImageSize, num_sparse_tokens: int) -> Stellar:
    """The model at a native size, in pixels, with positions resized as `PatchEmbedding` resizes them.

    Its first tokens stay; those that it has not yet are drawn as for a new model.
    Raises `ValueError` for an impossible size or number.
    """
    config = replace(model.config, image_size=image_size, num_sparse_tokens=num_sparse_tokens)
    if config == model.config:
        return model
    result = Stellar(config)
    weights = dict(model.state_dict())
    with torch.no_grad():
        weights[POSITIONS] = model.embedding.resized_positions(config.grid)
        kept = weights[TOKENS][:num_sparse_tokens]
        weights[TOKENS] = torch.cat([kept, result.sparse_tokens[len(kept) :]])
    result.load_state_dict(weights)
    return result

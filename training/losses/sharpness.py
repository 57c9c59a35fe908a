"""Sharp places: each patch belongs to few tokens, while an image keeps using many of them.

B batch · N patches · r sparse tokens
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

USE_SHARE = 0.75
"""Less than 1, as at mutual information: tokens that an image has no use for may stay empty."""


def sharpness(localization: Float[Tensor, "B N r"]) -> Float[Tensor, ""]:
    """Mean entropy of the patches' rows of L, less 0.75 of the entropy of each image's mean row; in nats.

    The first term alone would give whole images to one token. Not of the paper; the two terms are those of
    Krause et al. 2010 (RIM). Lowest value -0.75·ln r: one-hot rows, all tokens used alike.
    """
    return _entropy(localization).mean() - USE_SHARE * _entropy(localization.mean(dim=1)).mean()


def _entropy(distribution: Float[Tensor, "*batch r"]) -> Float[Tensor, "*batch"]:
    return torch.special.entr(distribution.float()).sum(dim=-1)  # type: ignore[no-any-return]

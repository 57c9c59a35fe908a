"""What pictures and tokens are, as arrays.

H, W pixels · N patches · r sparse tokens · D width
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Tokens(NamedTuple):
    """An image in the model's terms."""

    semantics: Floats
    """S, (r, D): what there is."""
    localization: Floats
    """L, (N, r): where it is; rows sum to 1."""
    cls: Floats
    """(D,): the whole image at once."""
    concepts: Floats | None = None
    """(r, D): the semantics less the mean of their number; None where they were not asked for."""

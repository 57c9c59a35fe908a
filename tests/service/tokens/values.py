"""The picture that is written into files of every kind, as numbers of [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

SIDE = 64
Y, X = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
RAMP: Values = np.stack([0.1 + 0.8 * X, 0.9 - 0.7 * Y, 0.2 + 0.3 * X + 0.3 * Y], -1)
GREY: Values = RAMP[..., :1]
COVER: Values = np.where(X < 0.5, 1.0, 0.4)[..., None]
STRIPES: Values = (X * 4).astype(int)[..., None] % 2.0
TURNED: Values = np.rot90(RAMP)
"""What a camera that lies on its side stores; orientation 6 turns it back."""


def levels(values: Values, kind: str) -> NDArray[Any]:
    """Numbers of [0, 1] over the whole range of a type; floats as they are."""
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return (np.rint(values * (int(limits.max) - int(limits.min))) + int(limits.min)).astype(dtype)

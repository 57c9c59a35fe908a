"""How close a drawn picture comes to the one that the model saw."""

from __future__ import annotations

import math

import numpy as np

from service.tokens.types import Pixels

SMALLEST_ERROR = 0.1
"""In levels of 255: what differs by less counts as that, 68.1 dB."""


def psnr_db(drawn: Pixels, seen: Pixels) -> float:
    """The peak signal-to-noise ratio of two pictures (H, W, 3) in dB, over all values.

    10 log10(255² / mean squared error): ITU-T J.340.
    """
    error = np.square(drawn.astype(np.float32) - seen).mean(dtype=np.float64)
    return 10 * math.log10(255**2 / max(float(error), SMALLEST_ERROR**2))

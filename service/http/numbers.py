"""Numbers in JSON: a list of them, flat or nested, as an array.

NumPy is told the type: where it has to find one itself, a long string among many makes all of them as long.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIECE = 100_000


def flat_numbers(value: Any, *, whole: bool = False) -> NDArray[np.float64]:
    """All numbers of a flat or evenly nested list, in their order; of whole ones only where `whole`.

    Raises `ValueError`.
    """
    kind = "whole numbers" if whole else "numbers"
    if type(value) is not list:
        raise ValueError(f"expected a list of {kind}")
    while value and type(value[0]) is list:
        if set(map(type, value)) != {list} or len(set(map(len, value))) > 1:
            raise ValueError(f"expected a flat or an evenly nested list of {kind}")
        value = list(chain.from_iterable(value))
    allowed = {int} if whole else {int, float}
    array = np.empty(len(value))
    # In pieces, as each holds Python's lock.
    for at in range(0, len(value), PIECE):
        piece = value[at : at + PIECE]
        kinds = set(map(type, piece))
        if not kinds <= allowed:
            uneven = " in a flat or an evenly nested list" if list in kinds else ""
            raise ValueError(f"expected {kind}{uneven}")
        try:
            array[at : at + PIECE] = piece
        except OverflowError:
            raise ValueError(f"expected {kind} of 64 bits") from None
    return array

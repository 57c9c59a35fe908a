"""When requests come in an open loop: as if from many users who know nothing of each other."""

from __future__ import annotations

import random
from collections.abc import Iterator


def arrivals(rate: float, seconds: float) -> Iterator[float]:
    """Instants from 0 to `seconds` with exponential pauses, `rate` a second on average; always the same."""
    draw = random.Random(0)
    instant = draw.expovariate(rate)
    while instant < seconds:
        yield instant
        instant += draw.expovariate(rate)

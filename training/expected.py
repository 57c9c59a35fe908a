"""What a number among settings may be."""

from __future__ import annotations

import math


def expect(
    name: str, value: int | float, expected: str, *, low: int, high: int | None = None, whole: bool = False
) -> None:
    """Raise `ValueError` where a value is no finite number from `low` to `high`, or no whole one."""
    right_kind = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not right_kind or not math.isfinite(value) or value < low or (high is not None and value > high):
        raise ValueError(f"{name}: expected {expected}, got {value!r}")

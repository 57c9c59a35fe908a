"""What a start is busy with, and for how long: what readiness tells until it is done."""

from __future__ import annotations

import time


class Progress:
    """Told from any thread, read by any other."""

    def __init__(self) -> None:
        self._begun = ("the models are loading", time.monotonic())

    def tell(self, busy_with: str) -> None:
        """Note what begins now."""
        self._begun = (busy_with, time.monotonic())

    def __str__(self) -> str:
        busy_with, since = self._begun
        return f"{busy_with}, for {time.monotonic() - since:.0f} s so far"

"""What a start is busy with, and for how long: what readiness tells until it is done."""

from __future__ import annotations

import time


class Progress:
    """Told from any thread, read by any other."""

    def __init__(self) -> None:
        self._begun: tuple[str, float] | None = None
        self.tell("the models are loading")

    def tell(self, busy_with: str) -> None:
        """Note what begins now."""
        self._begun = busy_with, time.monotonic()

    def done(self) -> None:
        """Note that the start is over, well or not."""
        self._begun = None

    @property
    def reason(self) -> str | None:
        """Why it is not ready, or None once the start is over."""
        if self._begun is None:
            return None
        busy_with, since = self._begun
        return f"{busy_with}, for {time.monotonic() - since:.0f} s so far"

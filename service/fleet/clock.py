"""Redis's clock as this process knows it: each answer tells within which bounds it is."""

from __future__ import annotations

DRIFT = 1e-3
"""Seconds that two clocks may part in a second. Those of real machines part by a tenth of it at most."""


class Clock:
    """The difference of Redis's clock to `time.monotonic()`, in seconds; it narrows as Redis answers."""

    def __init__(self) -> None:
        self._heard = 0.0
        self._least, self._most = -float("inf"), float("inf")

    def hear(self, told_s: float, *, sent: float, received: float) -> None:
        """Redis said that it was `told_s`, at some moment between these two `time.monotonic()` instants.

        Where that can't be, as after a jump of its clock, all that was known before is forgotten.
        """
        drifted = DRIFT * (received - self._heard)
        unsure = DRIFT * (received - sent)
        least, most = told_s - received - unsure, told_s - sent + unsure
        self._least = max(least, self._least - drifted)
        self._most = min(most, self._most + drifted)
        if self._least > self._most:
            self._least, self._most = least, most
        self._heard = received

    def at(self, instant: float) -> float:
        """The latest that it may be there at a `time.monotonic()` instant: who asks for time left is safe."""
        return instant + self._most + DRIFT * (instant - self._heard)

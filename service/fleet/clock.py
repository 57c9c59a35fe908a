"""Redis's clock as this process knows it: each answer tells within which bounds it is."""

from __future__ import annotations

DRIFT = 1e-3
"""Seconds that two clocks may part in a second. Those of real machines part by a tenth of it at most."""


class Clock:
    """The difference of Redis's clock to `time.monotonic()`, in seconds; it narrows as Redis answers."""

    def __init__(self) -> None:
        self._known = 0.0, -float("inf"), float("inf")
        """When it was last heard, and within which bounds it was then: together, for other threads."""

    def hear(self, told_s: float, *, sent: float, received: float) -> None:
        """Redis said that it was `told_s`, at some moment between these two `time.monotonic()` instants.

        Where that can't be, as after a jump of its clock, all that was known before is forgotten.
        """
        heard, least_known, most_known = self._known
        drifted = DRIFT * (received - heard)
        unsure = DRIFT * (received - sent)
        least_told, most_told = told_s - received - unsure, told_s - sent + unsure
        least, most = max(least_told, least_known - drifted), min(most_told, most_known + drifted)
        if least > most:
            least, most = least_told, most_told
        self._known = received, least, most

    def at(self, instant: float) -> float:
        """The latest that it may be there at a `time.monotonic()` instant: who asks for time left is safe."""
        heard, _, most = self._known
        return instant + most + DRIFT * (instant - heard)

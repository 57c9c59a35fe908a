"""How fast bytes must move: so many a second, with a stock of seconds for when they stand still."""

from __future__ import annotations


class Pace:
    """Whether bytes move fast enough: a stock of seconds goes down while they are waited for, and each byte
    adds to it what it may take. It is never more than full: who was fast may not stand still for longer.
    """

    def __init__(self) -> None:
        self.moved = 0
        self._left_s: float | None = None

    def begin(self) -> None:
        """Fill the stock."""
        self.moved, self._left_s = 0, None

    def too_slow(self, tick_s: float, full_s: float, bytes_s: int) -> bool:
        """Whether the stock is empty after another `tick_s`; never at a rate of 0 bytes a second."""
        if not bytes_s:
            return False
        left_s = full_s if self._left_s is None else self._left_s
        self._left_s = min(left_s + self.moved / bytes_s, full_s) - tick_s
        self.moved = 0
        return self._left_s < 0

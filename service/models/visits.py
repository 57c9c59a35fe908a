"""Requests at work: what one of them may be using is not taken away before it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Visits:
    """The requests that have begun and not yet ended."""

    def __init__(self) -> None:
        self._open: set[asyncio.Event] = set()

    @contextmanager
    def visit(self) -> Iterator[None]:
        """A request, from before it looks for its model until its answer is written."""
        ended = asyncio.Event()
        self._open.add(ended)
        try:
            yield
        finally:
            self._open.discard(ended)
            ended.set()

    async def ended(self, within_s: float) -> None:
        """Wait until all that are open at this moment have ended, or the time has passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                for visit in tuple(self._open):
                    await visit.wait()

"""The memory that pictures may take while they are decoded, and the threads that decode the large ones.

Small pictures are decoded wherever their arrays are needed. They pass by: as many as there are threads take a
small part of the memory.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog

from service.batching.batcher import Item, made
from service.errors import DeadlineExceeded, TooMuchMemory
from service.runtime.engine import Arrays

SMALL_BYTES = 16 * 2**20
"""What a picture takes at most that is no large one: four megapixels of colours."""
SMALL_SHARE = 8
"""Of a small budget, a small picture takes at most one part in so many."""
MIB = 2**20


class Costly(Protocol):
    """A picture, as the budget sees it."""

    cost: int
    """Bytes that decoding takes at its peak, or stand for its time."""

    def arrays(self) -> Arrays:
        """Decode it, here and now."""


@dataclass(eq=False)
class _Waiting:
    """Somebody who waits for room."""

    cost: int
    free: asyncio.Future[None]


class Budget:
    """Room for large pictures, so many bytes and so many at once, in fair order.

    Of those who wait the client with the fewest bytes at work goes next, with what it asked for first. Until
    that fits nobody else begins: what is large finds room, too.
    """

    def __init__(self, total: int, threads: int) -> None:
        self._total = total
        self._free_bytes = total
        self._free_threads = threads
        self.small = min(SMALL_BYTES, total // SMALL_SHARE)
        """What costs more is large."""
        self._at_work: Counter[str] = Counter()
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="large")

    def weight(self, picture: Costly) -> int:
        """As how many small pictures it counts."""
        return max(1, round(picture.cost / max(1, self.small)))

    async def item(self, picture: Costly, client: str, deadline: float) -> Item:
        """What a batcher takes: a small picture as it is, and the arrays of a large one.

        Raises what decoding raises, `TooMuchMemory` for what never fits, and `DeadlineExceeded`.
        """
        if picture.cost <= self.small:
            return picture.arrays
        return await self.run(picture.arrays, picture.cost, client, deadline)

    async def run(self, make: Callable[[], Arrays], cost: int, client: str, deadline: float) -> Arrays:
        """What `make` gives, called on a thread of its own as soon as there is room; see `item`.

        Cancelling the caller drops what has not begun. What has keeps its room until it is over.
        """
        if cost > self._total:
            raise TooMuchMemory(
                f"Decoding the image takes {-(-cost // MIB)} MiB; {self._total // MIB} are allowed, by "
                "STELLAR_DECODE_MEMORY: send a smaller picture, or a JPEG."
            )
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._enter(cost, client)
                try:
                    work = asyncio.get_running_loop().run_in_executor(self._threads, made, make, request_id)
                except RuntimeError:  # no thread can be started
                    self._leave(cost, client)
                    raise
                work.add_done_callback(partial(self._over, cost, client))
                return await asyncio.shield(work)
        except TimeoutError:
            raise DeadlineExceeded from None

    def close(self) -> None:
        """Drop what waits; nobody waits for what is being decoded."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _enter(self, cost: int, client: str) -> None:
        waiting = _Waiting(cost, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(client, deque()).append(waiting)
        self._admit()
        try:
            await waiting.free
        except asyncio.CancelledError:
            if waiting.free.cancelled():
                self._drop(client, waiting)
                self._admit()
            else:  # it was given room in the same moment
                self._leave(cost, client)
            raise

    def _over(self, cost: int, client: str, work: asyncio.Future[Arrays]) -> None:
        self._leave(cost, client)
        if not work.cancelled():
            work.exception()  # is looked at, where nobody waits for it any more: else asyncio logs an error

    def _leave(self, cost: int, client: str) -> None:
        self._free_bytes += cost
        self._free_threads += 1
        self._at_work[client] -= cost
        if not self._at_work[client]:
            del self._at_work[client]
        self._admit()

    def _admit(self) -> None:
        """Give room to whoever is next, as long as there is some."""
        while self._waiting and self._free_threads:
            client = min(self._waiting, key=self._at_work.__getitem__)
            waiting = self._waiting[client][0]
            if waiting.cost > self._free_bytes:
                return
            self._drop(client, waiting)
            if waiting.free.done():
                continue
            self._free_bytes -= waiting.cost
            self._free_threads -= 1
            self._at_work[client] += waiting.cost
            waiting.free.set_result(None)

    def _drop(self, client: str, waiting: _Waiting) -> None:
        line = self._waiting.get(client, deque())
        if waiting in line:
            line.remove(waiting)
        if not line:
            self._waiting.pop(client, None)
        else:
            self._waiting[client] = self._waiting.pop(client)

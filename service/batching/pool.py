"""Threads that make items' arrays where what runs them should not: a GPU, or another process."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import structlog

from service.batching.batcher import Item, made
from service.errors import DeadlineExceeded
from service.runtime.engine import Arrays


class Pool:
    """A few threads, shared by all batchers of a process."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    async def arrays(self, item: Item, deadline: float) -> Arrays:
        """An item's arrays, made off the event loop where they are not there yet.

        Cancelling the caller drops what has not begun. Raises what the item raises, `DeadlineExceeded` and
        `InternalError`.
        """
        if not callable(item):
            return item
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await loop.run_in_executor(self._threads, made, item, request_id)
        except TimeoutError:
            raise DeadlineExceeded from None

    def close(self) -> None:
        """Drop what waits; nobody waits for what is being made."""
        self._threads.shutdown(wait=False, cancel_futures=True)

"""A process's end: the connection to the engine, over which items go and results come."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from service.batching.local import expire
from service.errors import DeadlineExceeded, EngineAway, InternalError, QueueFull
from service.host.edition import Edition
from service.host.wire import Ask, Frames, Kind, Result
from service.runtime.engine import Stage

AGAIN_S = 0.1
"""After this time an engine that nobody finds is looked for again."""
FAILURES = {error.code: error for error in (EngineAway, QueueFull)}

Hear = Callable[["Connection", int, Edition], None]
"""Told of every edition, and of its number."""


class Connection(Frames):
    """From the moment at which the engine is found until one of the two has gone."""

    def __init__(self, hear: Hear) -> None:
        super().__init__()
        self._hear = hear
        self._next = count()
        self._items: dict[int, asyncio.Future[Result]] = {}
        self.waiting: dict[str, dict[Stage, int]] = {}
        """How many items of all processes waited in the engine a moment ago, by model and stage."""
        self.lost = asyncio.Event()

    async def ask(self, ask: Ask) -> Result:
        """Have an item run.

        Cancelling the caller drops it. Raises `DeadlineExceeded`, `EngineAway`, `QueueFull` and
        `InternalError`.
        """
        if self.lost.is_set():
            raise EngineAway
        loop = asyncio.get_running_loop()
        number = next(self._next)
        result: asyncio.Future[Result] = loop.create_future()
        self._items[number] = result
        timer = loop.call_later(ask.deadline - time.monotonic(), expire, result)
        self.send(Kind.ASK, number, *ask.body())
        try:
            return await result
        except (DeadlineExceeded, asyncio.CancelledError):
            self.send(Kind.WITHDRAW, number)
            raise
        finally:
            timer.cancel()
            del self._items[number]

    def heard(self, edition: int) -> None:
        """Say that requests find what is served by this edition."""
        self.send(Kind.HEARD, edition)

    def left(self, edition: int) -> None:
        """Say that nothing is used any more that was served before."""
        self.send(Kind.LEFT, edition)

    def frame_received(self, kind: int, number: int, body: bytearray) -> None:
        if kind == Kind.EDITION:
            self._hear(self, number, Edition.model_validate_json(body))
        elif kind == Kind.WAITING:
            self.waiting = json.loads(body)
        elif (result := self._items.get(number)) is None or result.done():
            return
        elif kind == Kind.RESULT:
            result.set_result(Result.read(body))
        elif kind == Kind.FAILURE:
            code, detail = json.loads(body)
            result.set_exception(FAILURES[code](detail) if code in FAILURES else InternalError())

    def connection_lost(self, _error: Exception | None) -> None:
        self.lost.set()
        for result in self._items.values():
            if not result.done():
                result.set_exception(EngineAway())


async def keep_connected(path: Path, hear: Hear) -> None:
    """Be connected to the engine for ever: to the next one as soon as it is there."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            transport, connection = await loop.create_unix_connection(lambda: Connection(hear), str(path))
        except OSError:
            await asyncio.sleep(AGAIN_S)
            continue
        try:
            await connection.lost.wait()
        finally:
            transport.close()

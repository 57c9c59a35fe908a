"""Messages that come: how many may be on their way, and what they hold once they are there.

gRPC gathers a message before it is seen here, and tells neither how long it is nor how much of it has come.
So one that is not there at once takes a place, of as many as the memory for bodies holds of the longest.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from service.errors import BadRequest, RequestTimeout, ServiceError, TooBusy
from service.http.bodies import COPIES, Bodies

SOON_S = 0.05
"""What comes within this time is no more than the network carries in it, however many send."""


class Inbox:
    """Where messages are read; one client takes no more than half of the places, so that others go on."""

    def __init__(self, bodies: Bodies, max_bytes: int, request_timeout_s: float) -> None:
        """`max_bytes` is the length of the longest message."""
        self._bodies = bodies
        self._timeout_s = request_timeout_s
        self._places = max(2, bodies.max_bytes // max_bytes)
        self._taken: Counter[str] = Counter()

    async def read(self, context: Any, client: str) -> bytes:
        """The message of a call, which has one. Raises `TooBusy`, `RequestTimeout` and `BadRequest`."""
        message = await self.next(context, client)
        if message is None:
            raise BadRequest("The call has no message: send one.")
        return message

    async def next(self, context: Any, client: str) -> bytes | None:
        """The next message of a call, or None at its end. Raises `TooBusy` and `RequestTimeout`."""
        slow = _Slow(self, client, self._timeout_s)
        try:
            message = await context.read()
        except asyncio.CancelledError:
            if slow.refusal is not None and not slow.task.uncancel():
                raise slow.refusal from None
            raise
        finally:
            slow.end()
        return None if message is grpc.aio.EOF else message

    @contextmanager
    def held(self, message: bytes, client: str) -> Iterator[None]:
        """Count a message, and what is made of it. Raises `TooBusy`."""
        taken = COPIES * len(message)
        self._bodies.take(taken, client)
        try:
            yield
        finally:
            self._bodies.give_back(taken, client)

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """Keep a place for any message that may come. Raises `TooBusy`."""
        self.take(client)
        try:
            yield
        finally:
            self.leave(client)

    def take(self, client: str) -> None:
        """Take a place. Raises `TooBusy`."""
        if self._taken.total() >= self._places or self._taken[client] >= self._places // 2:
            raise TooBusy("Too many streams are open, or long messages on their way: try again soon.")
        self._taken[client] += 1

    def leave(self, client: str) -> None:
        """Give a place back."""
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]


class _Slow:
    """A message that may be long in coming, of the task that waits for it."""

    def __init__(self, inbox: Inbox, client: str, timeout_s: float) -> None:
        self._inbox = inbox
        self._client = client
        self._timeout_s = timeout_s
        self._has_place = False
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self.refusal: ServiceError | None = None
        """Why it is not waited for any longer."""
        self._timer = asyncio.get_running_loop().call_later(SOON_S, self._take_place)

    def _take_place(self) -> None:
        """It is not there at once."""
        try:
            self._inbox.take(self._client)
        except TooBusy as error:
            self._refuse(error)
            return
        self._has_place = True
        late = RequestTimeout(f"The message came too slowly: expected it within {self._timeout_s:g} s.")
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._refuse, late)

    def _refuse(self, error: ServiceError) -> None:
        self.refusal = error
        self.task.cancel()

    def end(self) -> None:
        """It is there, or is not waited for."""
        self._timer.cancel()
        if self._has_place:
            self._inbox.leave(self._client)

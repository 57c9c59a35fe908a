"""Messages that come: how many may be on their way, and what they hold once they are there.

gRPC gathers a message before it is seen here, and tells neither how long it is nor how much of it has come.
So few are read at a time, as many as half of the memory for bodies holds of the longest. What is not there
soon goes on in one of the places for the slow, which are half of these: the quick need not wait for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import grpc

from service.errors import BadRequest, RequestTimeout, ServiceError, TooBusy
from service.http.bodies import COPIES, Bodies

AT_A_TIME = 12
"""Messages of the longest kind that there is room for at least."""
SOON_S = 0.05
"""What is there within this time is quick."""


def longest_message(bodies: Bodies, max_bytes: int) -> int:
    """The bytes of the longest message, where a body may have `max_bytes`."""
    return min(max_bytes, bodies.max_bytes // 2 // AT_A_TIME)


class Places:
    """So many at a time, of one client half of them, so that others go on."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken: Counter[str] = Counter()
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()

    def _has_room(self, client: str) -> bool:
        return self._taken.total() < self._count and self._taken[client] < max(1, self._count // 2)

    def take(self, client: str) -> None:
        """Take a place. Raises `TooBusy`."""
        if not self._has_room(client):
            raise TooBusy("Too many streams are open, or slow messages on their way: try again soon.")
        self._taken[client] += 1

    async def wait(self, client: str) -> None:
        """Take a place as soon as there is one."""
        if self._has_room(client):
            self._taken[client] += 1
            return
        place = client, asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place[1]
        except asyncio.CancelledError:
            if place[1].cancelled():
                with suppress(ValueError):
                    self._waiting.remove(place)
            else:  # it was given one in the same moment
                self.leave(client)
            raise

    def leave(self, client: str) -> None:
        """Give a place back: to the first who waits and may have one."""
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]
        for place in self._waiting:
            if not place[1].done() and self._has_room(place[0]):
                self._waiting.remove(place)
                self._taken[place[0]] += 1
                place[1].set_result(None)
                return


class Inbox:
    """Where messages are read."""

    def __init__(self, bodies: Bodies, max_bytes: int, request_timeout_s: float) -> None:
        """`max_bytes` is the length of the longest message."""
        self._bodies = bodies
        self._timeout_s = request_timeout_s
        count = bodies.max_bytes // 2 // max_bytes
        self._quick = Places(count - count // 2)
        self._slow = Places(count // 2)

    async def read(self, context: Any, client: str) -> bytes:
        """The message of a call, which has one. Raises `TooBusy`, `RequestTimeout` and `BadRequest`."""
        message = await self.next(context, client)
        if message is None:
            raise BadRequest("The call has no message: send one.")
        return message

    async def next(self, context: Any, client: str) -> bytes | None:
        """The next message of a call, or None at its end. Raises `TooBusy` and `RequestTimeout`."""
        await self._quick.wait(client)
        coming = _Coming(client, self._quick, self._slow, self._timeout_s)
        try:
            message = await context.read()
        except asyncio.CancelledError:
            if coming.refusal is not None and not coming.task.uncancel():
                raise coming.refusal from None
            raise
        finally:
            coming.end()
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
        self._slow.take(client)
        try:
            yield
        finally:
            self._slow.leave(client)


class _Coming:
    """A message on its way to the task that waits for it: quick at first, which has a place already."""

    def __init__(self, client: str, quick: Places, slow: Places, timeout_s: float) -> None:
        self._client = client
        self._place: Places = quick
        self._slow = slow
        self._timeout_s = timeout_s
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self.refusal: ServiceError | None = None
        """Why it is not waited for any longer."""
        self._timer = asyncio.get_running_loop().call_later(SOON_S, self._be_slow)

    def _be_slow(self) -> None:
        """It is not there soon."""
        try:
            self._slow.take(self._client)
        except TooBusy as error:
            self._refuse(error)
            return
        self._place.leave(self._client)
        self._place = self._slow
        late = RequestTimeout(f"The message came too slowly: expected it within {self._timeout_s:g} s.")
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._refuse, late)

    def _refuse(self, error: ServiceError) -> None:
        self.refusal = error
        self.task.cancel()

    def end(self) -> None:
        """It is there, or is not waited for."""
        self._timer.cancel()
        self._place.leave(self._client)

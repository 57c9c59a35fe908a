"""The engine's end: it takes the items of the host's other processes, and hands out what came of them."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count

from service.batching.local import LocalBatcher
from service.errors import EngineAway, ServiceError
from service.host.edition import Edition
from service.host.wire import Ask, Frames, Kind, Result
from service.runtime.bundle import Manifest
from service.runtime.engine import STAGES, Arrays

HEARD_S = 1.0
"""How long a process may take to hear of an edition, before the others go on without it."""


class Desk:
    """Where the processes of a host come with their items, for the models that are open."""

    def __init__(self) -> None:
        """Nobody is heard before `listen`."""
        self.batchers: dict[int, LocalBatcher] = {}
        self._numbers: dict[str, int] = {}
        self._next = count()
        self._edition = 0
        self._told = b""
        self._waiting = b""
        self._clients: set[_Client] = set()
        self._news = asyncio.Event()
        """Set when a process tells what it uses, or goes."""

    async def listen(self, listening: socket.socket) -> None:
        """Hear whoever connects."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Client(self), sock=listening)

    def open(self, manifest: Manifest, batcher: LocalBatcher) -> None:
        """Let a model be used, under a number of its own, until its batcher is closed."""
        number = self._numbers[manifest.id] = next(self._next)
        self.batchers[number] = batcher

    def number(self, model: str) -> int:
        """The number of a model (name@version); of several the last one's."""
        return self._numbers[model]

    async def show(self, edition: Edition) -> None:
        """Tell all processes what is served from now on, where that is new, and wait until they heard."""
        told = edition.model_dump_json().encode()
        if told == self._told:
            return
        self._told = told
        self._edition += 1
        for client in self._clients:
            self._tell(client)
        number = self._edition
        await self._until(lambda client: client.heard >= number, HEARD_S)

    async def unused(self, within_s: float) -> None:
        """Wait until nobody uses what was served before the edition at this moment, or for so long."""
        number = self._edition
        await self._until(lambda client: client.left >= number, within_s)

    def count(self) -> None:
        """Forget what is closed, and tell all processes how much waits, where that is new."""
        self.batchers = {number: batcher for number, batcher in self.batchers.items() if not batcher.closed}
        waiting = json.dumps(
            {
                number: {stage: batcher.waiting(stage) for stage in STAGES}
                for number, batcher in self.batchers.items()
            }
        ).encode()
        if waiting != self._waiting:
            self._waiting = waiting
            for client in self._clients:
                client.send(Kind.WAITING, 0, waiting)

    def enter(self, client: _Client) -> None:
        """A process has come."""
        self._clients.add(client)
        if self._told:
            self._tell(client)

    def leave(self, client: _Client) -> None:
        """A process is gone."""
        self._clients.discard(client)
        self._news.set()

    def hear(self) -> None:
        """A process has told what it uses."""
        self._news.set()

    def _tell(self, client: _Client) -> None:
        client.send(Kind.EDITION, self._edition, self._told)

    async def _until(self, so_far: Callable[[_Client], bool], within_s: float) -> None:
        """Wait until it is so of every process, or the time has passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not all(map(so_far, self._clients)):
                    self._news.clear()
                    await self._news.wait()


class _Client(Frames):
    """One of the processes."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._items: dict[int, asyncio.Future[Arrays]] = {}
        self.heard = 0
        """The last edition that its requests find."""
        self.left = 0
        """It uses nothing that was served before this one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._desk.enter(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._desk.leave(self)
        for result in self._items.values():
            result.cancel()

    def frame_received(self, kind: int, number: int, body: bytearray) -> None:
        if kind == Kind.ASK:
            self._ask(number, Ask.read(body))
        elif kind == Kind.WITHDRAW:
            if result := self._items.get(number):
                result.cancel()
        elif kind == Kind.HEARD:
            self.heard = number
            self._desk.hear()
        elif kind == Kind.LEFT:
            self.left = number
            self._desk.hear()

    def _ask(self, number: int, ask: Ask) -> None:
        batcher = self._desk.batchers.get(ask.model)
        try:
            if batcher is None or batcher.closed:
                raise EngineAway("The model is being replaced: try again soon.")
            batcher.ensure_capacity(ask.stage, 1, "small")  # what was admitted goes on
        except ServiceError as error:
            self._fail(number, error)
            return
        result = self._items[number] = batcher.begin(
            ask.stage,
            ask.arrays,
            outputs=ask.outputs,
            deadline=ask.deadline,
            lane=ask.lane,
            request_id=ask.request_id or None,
            trace=ask.trace,
        )
        result.add_done_callback(partial(self._answer, number, time.monotonic()))

    def _answer(self, number: int, asked: float, result: asyncio.Future[Arrays]) -> None:
        del self._items[number]
        if result.cancelled():
            return
        error = result.exception()
        if error is None:
            self.send(Kind.RESULT, number, *Result(time.monotonic() - asked, result.result()).body())
        else:
            assert isinstance(error, ServiceError)
            self._fail(number, error)

    def _fail(self, number: int, error: ServiceError) -> None:
        self.send(Kind.FAILURE, number, json.dumps([error.code, error.detail]).encode())

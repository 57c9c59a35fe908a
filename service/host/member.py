"""A process of several that are one service: its way to the supervisor, which started it.

Over a pair of sockets go lines of JSON, a list each: what is asked, a number for the answer, what is told.

    supervisor → member   metrics  tell yours              member → supervisor   metrics  these are they
                          service  all together                                  service  tell those of all
                          reload   look into the folder                          up       this process serves
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from service.errors import NotReady
from service.watch.logs import logger
from service.watch.summed import Summed

LONGEST_LINE = 64 * 2**20
PATIENCE_S = 5.0
"""How long the metrics of all are waited for."""


class Member:
    """This process, among those of its service."""

    def __init__(self, channel: socket.socket, engine: Path | None) -> None:
        """`engine` is where the engine listens that runs the models; None where workers run them."""
        self.engine = engine
        self._channel = channel
        self._numbers = count()
        self._asked: dict[int, asyncio.Future[Summed]] = {}
        self._writer: asyncio.StreamWriter | None = None

    async def join(self, registry: CollectorRegistry, reload: Callable[[], None]) -> None:
        """Do what the supervisor asks for, from now on. Where it is gone, so is this process."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._channel, limit=LONGEST_LINE)
        self._listening = asyncio.create_task(self._listen(reader, registry, reload))

    async def _listen(
        self, reader: asyncio.StreamReader, registry: CollectorRegistry, reload: Callable[[], None]
    ) -> None:
        with suppress(OSError):
            while line := await reader.readline():
                what, number, told = json.loads(line)
                if what == "metrics":
                    self._send(what, number, Summed.of(registry).families)
                elif what == "reload":
                    reload()
                elif what == "service" and (asked := self._asked.get(number)) and not asked.done():
                    asked.set_result(Summed.read(told))
        logger.warning("supervisor_gone")
        if self.engine is not None:
            shutil.rmtree(self.engine.parent, ignore_errors=True)
        os._exit(1)

    def up(self) -> None:
        """Say that this process serves."""
        self._send("up")

    async def service(self) -> Summed:
        """The metrics of all processes. Raises `NotReady` where they can't be had."""
        number = next(self._numbers)
        asked: asyncio.Future[Summed] = asyncio.get_running_loop().create_future()
        self._asked[number] = asked
        self._send("service", number)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await asked
        except TimeoutError:
            raise NotReady("The metrics of all processes can't be had: try again soon.") from None
        finally:
            del self._asked[number]

    def _send(self, what: str, number: int = 0, told: Any = None) -> None:
        assert self._writer is not None
        self._writer.write(json.dumps([what, number, told]).encode() + b"\n")

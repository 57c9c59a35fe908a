"""A process that the supervisor has started, and the way to it: the other end of `service/host/member.py`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import service
from service.host.member import LONGEST_LINE
from service.watch.summed import Summed

COMMAND = (sys.executable, "-P", "-m", "service.processes")
CODE = Path(service.__file__).parents[1]
"""Where the command finds this very code, whatever the working folder holds."""
AllMetrics = Callable[[], Awaitable[Summed]]
"""Gives the metrics of all processes."""


class Child:
    """One process, from its start to its end."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        all_metrics: AllMetrics,
    ) -> None:
        self.name = name
        self.process = process
        self.is_up = False
        """Whether it has begun to serve."""
        self.metrics = Summed([])
        """What it told last."""
        self._heard = 0.0
        self._writer = writer
        self._all_metrics = all_metrics
        self._numbers = count()
        self._asked: dict[int, asyncio.Future[None]] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._listening = asyncio.create_task(self._listen(reader))

    @classmethod
    async def start(
        cls,
        name: str,
        arguments: Sequence[str],
        *,
        listening: socket.socket | None,
        environment: Mapping[str, str],
        all_metrics: AllMetrics,
    ) -> Child:
        """Start a process: the engine, where it has a socket to be `listening` on, or one that has none.

        Raises `OSError`.
        """
        own, its = socket.socketpair()
        shared = [its.fileno()]
        arguments = [*arguments, "--channel", str(its.fileno())]
        if listening is not None:
            shared.append(listening.fileno())
            arguments += ["--listening", str(listening.fileno())]
        paths = [CODE, *filter(None, [os.environ.get("PYTHONPATH")])]
        process = await asyncio.create_subprocess_exec(
            *(*COMMAND, name, *arguments),
            env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(map(str, paths))},
            pass_fds=shared,
            start_new_session=True,  # Ctrl-C is the supervisor's: it lets all end in order
        )
        its.close()
        reader, writer = await asyncio.open_unix_connection(sock=own, limit=LONGEST_LINE)
        return cls(name, process, reader, writer, all_metrics)

    async def ended(self) -> int:
        """Wait for its end; the exit code, or less than 0 for a signal's number."""
        code = await self.process.wait()
        self._writer.close()
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def reload(self) -> None:
        """Have it look into the models' folder."""
        self._send("reload")

    @property
    def silent_s(self) -> float:
        """Seconds since it told anything, as it does when it is asked for its metrics; 0 before it serves."""
        return time.monotonic() - self._heard if self.is_up else 0.0

    async def ask_metrics(self, within_s: float) -> None:
        """Have `metrics` of this moment, or those of before where it is too busy to tell."""
        if not self.is_up:
            return
        number = next(self._numbers)
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        self._send("metrics", number)
        await asyncio.wait([asked], timeout=within_s)
        del self._asked[number]

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                what, number, told = json.loads(line)
                self._heard = time.monotonic()
                if what == "up":
                    self.is_up = True
                elif what == "metrics":
                    self.metrics = Summed.read(told)
                    if (asked := self._asked.get(number)) is not None and not asked.done():
                        asked.set_result(None)
                elif what == "service":
                    task = asyncio.create_task(self._answer(number))
                    self._answers.add(task)
                    task.add_done_callback(self._answers.discard)

    async def _answer(self, number: int) -> None:
        self._send("service", number, (await self._all_metrics()).families)

    def _send(self, what: str, number: int = 0, told: Any = None) -> None:
        if not self._writer.is_closing():
            self._writer.write(json.dumps([what, number, told]).encode() + b"\n")

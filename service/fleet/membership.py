"""A worker's place in the fleet: who it is, that it lives, what it still has, and Redis's time."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterable, Mapping

from redis.exceptions import ResponseError

from service.fleet.clock import Clock
from service.fleet.line import Line
from service.fleet.names import GROUP, Names
from service.fleet.resp import Command
from service.fleet.scripts import BEAT, SWEEP, call

ALIVE_CLAIM_TIMES = 2
"""A worker that said nothing for so many claim times counts as gone."""
SWEEP_CLAIM_TIMES = 20
"""Its name is forgotten after so many."""


class Membership:
    """One worker among the consumers of its streams."""

    def __init__(
        self, names: Names, streams: Mapping[str, str], *, provider: str, claim_idle_ms: int
    ) -> None:
        """`streams` says the model (name@version) of each stream."""
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}|{provider}"
        self.clock = Clock()
        self._names = names
        self._streams = streams
        self._models = sorted(set(streams.values()))
        self._claim_idle_ms = claim_idle_ms

    def prepare(self, line: Line) -> None:
        """See to it that the streams and their group exist.

        Raises `QueueAway`, and `ResponseError` for what Redis refuses.
        """
        for answer in line.run(
            [("XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM") for stream in self._streams]
        ):
            if isinstance(answer, ResponseError) and not str(answer).startswith("BUSYGROUP"):
                raise answer

    def beat(self, line: Line, held: Iterable[tuple[str, bytes]]) -> None:
        """Say that this worker lives and still has these entries of streams; learn Redis's time.

        Raises like `prepare`.
        """
        alive_ms = ALIVE_CLAIM_TIMES * self._claim_idle_ms
        beats: list[Command] = [
            call(BEAT, [self._names.workers(model)], self.name, alive_ms) for model in self._models
        ]
        entries: dict[str, list[bytes]] = {}
        for stream, entry in held:
            entries.setdefault(stream, []).append(entry)
        kept: list[Command] = [
            ("XCLAIM", stream, GROUP, self.name, 0, *known, "JUSTID") for stream, known in entries.items()
        ]
        sent = time.monotonic()
        answers = line.run(beats + kept)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        self.clock.hear(answers[0] / 1000, sent=sent, received=time.monotonic())

    def sweep(self, line: Line) -> None:
        """Forget consumers whose workers are gone. Raises `QueueAway`."""
        line.run(self._sweep_commands(SWEEP_CLAIM_TIMES * self._claim_idle_ms))

    def leave(self, line: Line) -> None:
        """Be forgotten at once: nothing is left to claim. Raises `QueueAway`."""
        gone: list[Command] = [("ZREM", self._names.workers(model), self.name) for model in self._models]
        line.run(gone + self._sweep_commands(idle_ms=-1))

    def _sweep_commands(self, idle_ms: int) -> list[Command]:
        return [
            call(SWEEP, [stream, self._names.workers(model)], GROUP, idle_ms)
            for stream, model in self._streams.items()
        ]

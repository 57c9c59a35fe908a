"""What a worker's thread has to say of its entries: answered, dropped or buried."""

from __future__ import annotations

import time
from collections.abc import Iterable

from pydantic import ValidationError

from service.fleet.jobs import Job, Source
from service.fleet.names import GROUP, REPLY_TTL_MS, Names
from service.fleet.resp import Command
from service.fleet.scripts import FINISH, call
from service.fleet.wire import Fields, Reply, Request
from service.watch.logs import logger
from service.watch.metrics import Metrics
from service.watch.tracing import ids

MAX_DEAD = 100
"""Entries that are kept for people to look at."""


class Outbox:
    """Commands for Redis, and the jobs that are settled once it has heard them."""

    def __init__(self, names: Names, metrics: Metrics) -> None:
        self._names = names
        self._metrics = metrics
        self.clear()

    def clear(self) -> None:
        """All is said."""
        self.commands: list[Command] = []
        self.jobs: list[Job] = []
        self.ends = 0.0
        """From this `time.monotonic()` instant on nobody waits any more."""

    def answer(self, replies: Iterable[tuple[Job, Reply]]) -> None:
        """Answer, acknowledge and delete: in one step all of a stream that go to the same process."""
        steps: dict[tuple[str, str], list[bytes | int]] = {}
        for job, reply in replies:
            step = steps.setdefault((job.source.stream, job.request.reply_to), [])
            step += (job.entry, job.request.number, reply.pack())
            self._settle(job)
        self.commands += [
            call(FINISH, list(keys), GROUP, REPLY_TTL_MS, *step) for keys, step in steps.items()
        ]

    def drop(self, job: Job) -> None:
        """Acknowledge and delete a job that nobody waits for."""
        self.commands += _delete(job.source, job.entry)
        self._settle(job)

    def bury(self, source: Source, entry: bytes, fields: Fields, reason: str, code: str) -> None:
        """Put an entry aside for people, and tell who waits for it, where that can be read."""
        try:
            request = Request.model_validate_json(fields.get(b"about", b""))
        except ValidationError:
            request = None
        about = {} if request is None else {"request_id": request.request_id, **ids(request.trace)}
        logger.error("buried", stream=source.stream, reason=reason, **about)
        self._metrics.dead_letters.inc()
        letter: Command = ("XADD", self._names.dead, "MAXLEN", MAX_DEAD, "*")
        told = [part for pair in fields.items() for part in pair]
        self.commands.append((*letter, "stream", source.stream, "reason", reason, *told))
        if request is None or not request.reply_to.startswith(self._names.replies("")):
            self.commands += _delete(source, entry)
            return
        answer = entry, request.number, Reply(error=code).pack()
        self.commands.append(call(FINISH, [source.stream, request.reply_to], GROUP, REPLY_TTL_MS, *answer))

    def _settle(self, job: Job) -> None:
        self.jobs.append(job)
        self.ends = max(self.ends, time.monotonic() + job.request.ttl_ms / 1000)


def _delete(source: Source, entry: bytes) -> list[Command]:
    return [("XACK", source.stream, GROUP, entry), ("XDEL", source.stream, entry)]

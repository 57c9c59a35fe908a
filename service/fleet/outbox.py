"""What a worker says of its entries: answered, dropped or buried; and says again until Redis has heard it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence

from redis.exceptions import ResponseError

from service.errors import QueueAway
from service.fleet.jobs import Job, Source
from service.fleet.link import Command, Link
from service.fleet.names import GROUP, REPLY_TTL_MS, Names
from service.fleet.scripts import FINISH, call
from service.fleet.wire import Fields, Reply
from service.watch.logs import logger
from service.watch.metrics import Metrics
from service.watch.tracing import ids

RETRY_S = 0.25
MAX_DEAD = 100
"""Entries that are kept for people to look at."""


class Outbox:
    """Sends in the background while the worker goes on."""

    def __init__(self, link: Link, names: Names, metrics: Metrics, *, settled: Callable[[Job], None]) -> None:
        """`settled` hears of each job that is answered or dropped, or that nobody waits for any more."""
        self._link = link
        self._names = names
        self._metrics = metrics
        self._settled = settled
        self._sending: set[asyncio.Task[None]] = set()

    def deliver(self, jobs: Sequence[Job], replies: Sequence[Reply]) -> None:
        """Answer, acknowledge and delete, each job in one step."""
        pairs = zip(jobs, replies, strict=True)
        self._send(
            self._settle(jobs, [_finish(job.source, job.entry, job.request.reply_to, r) for job, r in pairs])
        )

    def drop(self, job: Job) -> None:
        """Acknowledge and delete a job that nobody waits for."""
        self._send(self._settle([job], _delete(job.source, job.entry)))

    async def bury(self, source: Source, entry: bytes, fields: Fields, reason: str, code: str) -> None:
        """Put an entry aside for people, and tell who waits for it. Raises `QueueAway`."""
        logger.error(
            "buried",
            stream=source.stream,
            reason=reason,
            request_id=fields.get(b"request_id", b"").decode("utf-8", "replace"),
            **ids(fields.get(b"trace", b"").decode("utf-8", "replace")),
        )
        self._metrics.dead_letters.inc()
        told = [part for pair in fields.items() for part in pair]
        about = ("stream", source.stream, "reason", reason)
        commands: list[Command] = [("XADD", self._names.dead, "MAXLEN", MAX_DEAD, "*", *about, *told)]
        try:
            reply_to = fields.get(b"reply_to", b"").decode()
            reply = Reply(item=fields.get(b"item", b"").decode(), error=code)
        except UnicodeDecodeError:
            reply_to = ""
        if reply_to.startswith(self._names.replies("")):
            commands.append(_finish(source, entry, reply_to, reply))
        else:
            commands += _delete(source, entry)
        for answer in await self._link.run(commands):
            if isinstance(answer, ResponseError):
                logger.error("bury_refused", reason=str(answer))

    async def drain(self) -> None:
        """Wait until everything is said."""
        await asyncio.gather(*self._sending)

    def _send(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _settle(self, jobs: Sequence[Job], commands: Sequence[Command]) -> None:
        """Send until Redis has it, or nobody waits any more."""
        end = time.monotonic() + max(job.request.ttl_ms for job in jobs) / 1000
        while True:
            try:
                for answer in await self._link.run(commands):
                    if isinstance(answer, ResponseError):
                        logger.error("answer_refused", reason=str(answer))
                break
            except QueueAway:
                if time.monotonic() > end:
                    break
                await asyncio.sleep(RETRY_S)
        for job in jobs:
            self._settled(job)


def _finish(source: Source, entry: bytes, reply_to: str, reply: Reply) -> Command:
    return call(FINISH, [source.stream, reply_to], GROUP, entry, REPLY_TTL_MS, *reply.fields())


def _delete(source: Source, entry: bytes) -> list[Command]:
    return [("XACK", source.stream, GROUP, entry), ("XDEL", source.stream, entry)]

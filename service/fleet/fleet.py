"""The API process's end: it writes requests, waits for answers, and knows who could give them.

An entry that is gone without an answer (Redis restarted empty, a stream trimmed) is written again, as long as
somebody waits for it; answers that come twice are dropped.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

import structlog
from redis.exceptions import ResponseError

from service.batching.batcher import Outputs
from service.batching.pool import Pool
from service.errors import DeadlineExceeded, InternalError, ItemBuried, QueueAway, QueueFull
from service.fleet.batcher import RedisBatcher
from service.fleet.link import Link
from service.fleet.names import REPLY_TTL_MS, Names
from service.fleet.resp import Command
from service.fleet.scripts import LOST, call
from service.fleet.wire import Reply, Request
from service.runtime.bundle import Manifest
from service.runtime.engine import Arrays
from service.settings import Settings
from service.watch.logs import logger
from service.watch.metrics import Metrics
from service.watch.tracing import ids

BLOCK_MS = 500
REPLIES_AT_ONCE = 256
STATUS_EVERY_S = 0.25
AUDIT_EVERY_S = 1.0
AUDIT_AFTER_S = 1.0
"""Answers that took longer are looked after."""
NOT_YET = "Redis has not answered yet"


@dataclass(eq=False)
class _Waiting:
    """An item that somebody waits for."""

    number: int
    stream: str
    item: Arrays
    outputs: Outputs
    deadline: float
    request_id: str
    trace: str
    answer: asyncio.Future[Reply]
    entry: bytes | None = None
    """Its last entry in the stream; None before it is written."""
    written: float = 0.0


class Fleet:
    """One API process's connection to all workers."""

    def __init__(self, settings: Settings, pool: Pool, metrics: Metrics) -> None:
        """Start reading; needs a running event loop."""
        self._settings = settings
        self._pool = pool
        self._metrics = metrics
        self._transport = metrics.stage_duration.labels("transport")
        self._names = Names(settings.redis_prefix)
        self.link = Link(settings)
        self._hears = Link(settings)
        """Waits for answers, and can do nothing else meanwhile."""
        self._replies = self._names.replies(uuid.uuid4().hex)
        self._numbers = count()
        self._items: dict[int, _Waiting] = {}
        self._served: list[RedisBatcher] = []
        self._away: str | None = NOT_YET
        works = (self._read, self._watch, self._audit)
        self._tasks = [asyncio.create_task(self._keep(work)) for work in works]

    def serve(self, manifest: Manifest) -> RedisBatcher:
        """A batcher for a model."""
        batcher = RedisBatcher(
            self.ask,
            self._pool,
            lambda: self._away is None,
            self._served.remove,
            self._names,
            manifest,
            max_queue=self._settings.max_queue,
            metrics=self._metrics,
        )
        self._served.append(batcher)
        return batcher

    async def ask(self, stream: str, item: Arrays, outputs: Outputs, deadline: float) -> Arrays:
        """Run one item; see `Batcher.submit`."""
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(
            number=next(self._numbers),
            stream=stream,
            item=item,
            outputs=outputs,
            deadline=deadline,
            request_id=structlog.contextvars.get_contextvars().get("request_id", ""),
            trace=self._metrics.trace(),
            answer=answer,
        )
        self._items[waiting.number] = waiting
        started = time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, deadline - started)):
                await self._write(waiting)
                reply = await answer
        except TimeoutError:
            raise DeadlineExceeded from None
        finally:
            del self._items[waiting.number]
            if not answer.done() or answer.cancelled():
                self._withdraw(waiting)
        elapsed = time.monotonic() - started
        transport_s = max(0.0, elapsed - reply.queue_s - reply.inference_s)
        self._transport.observe(transport_s, ids(waiting.trace))
        if reply.arrays is None:
            raise ItemBuried if reply.error == ItemBuried.code else InternalError
        return reply.arrays

    async def close(self) -> None:
        """Stop waiting; answers that still come expire by themselves."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(QueueAway, ResponseError):
            await self.link.send("DEL", self._replies)
        await self._hears.close()
        await self.link.close()

    async def _keep(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do endless work; whatever ends it is logged, and it begins again."""
        while True:
            try:
                await work()
            except Exception:
                logger.exception("fleet_failed")
                await asyncio.sleep(STATUS_EVERY_S)

    async def _write(self, waiting: _Waiting) -> None:
        request = Request(
            number=waiting.number,
            reply_to=self._replies,
            ttl_ms=_ms_until(waiting.deadline),
            request_id=waiting.request_id,
            trace=waiting.trace,
            outputs=waiting.outputs,
        )
        try:
            waiting.entry = await self.link.send("XADD", waiting.stream, "*", *request.fields(waiting.item))
        except ResponseError as error:
            if str(error).startswith("OOM"):
                raise QueueFull("The queue's memory is full: try again soon.") from None
            logger.error("write_refused", reason=str(error))  # such as a user who may not
            raise QueueAway from error
        waiting.written = time.monotonic()

    def _withdraw(self, waiting: _Waiting) -> None:
        """Nobody waits any more: an entry that no worker has yet disappears."""
        if waiting.entry is not None and self._away is None:
            task = asyncio.create_task(self._delete(waiting.stream, waiting.entry))
            task.add_done_callback(lambda done: done.exception())

    async def _delete(self, stream: str, entry: bytes) -> None:
        with suppress(QueueAway, ResponseError):
            await self.link.send("XDEL", stream, entry)

    async def _read(self) -> None:
        """Hand answers to those who wait for them."""
        read: list[bytes] = []
        while True:
            # Read entries are deleted on the way, so reading begins at the start each time: entries' ids may
            # go back after a restart on another host.
            commands: list[Command] = [("XDEL", self._replies, *read)] if read else []
            commands.append(
                ("XREAD", "COUNT", REPLIES_AT_ONCE, "BLOCK", BLOCK_MS, "STREAMS", self._replies, "0")
            )
            try:
                *_, answer = await self._hears.run(commands)
                if isinstance(answer, ResponseError):
                    raise answer
            except (QueueAway, ResponseError) as error:
                self._note(error)
                await asyncio.sleep(STATUS_EVERY_S)
                continue
            read = []
            for _, entries in answer or []:
                for entry, parts in entries:
                    read.append(entry)
                    for number, data in zip(parts[::2], parts[1::2], strict=True):
                        self._answer(number, data)

    def _answer(self, number: bytes, data: bytes) -> None:
        try:
            waiting = self._items.get(int(number))
            if waiting is not None and not waiting.answer.done():
                waiting.answer.set_result(Reply.parse(data))
        except ValueError as error:  # `Malformed`, too
            logger.warning("bad_reply", reason=str(error))

    async def _watch(self) -> None:
        """Keep knowing whether Redis is there, which workers live and how much waits."""
        while True:
            served = tuple(self._served)  # models may come and go meanwhile
            try:
                # The first is a write, because Redis may be there and refuse all writes.
                writes = ("PEXPIRE", self._replies, REPLY_TTL_MS)
                answers = await self.link.run([writes, *(batcher.question() for batcher in served)])
                for answer in answers:
                    if isinstance(answer, ResponseError):
                        raise answer
                for batcher, answer in zip(served, answers[1:], strict=True):
                    batcher.note(*answer)
                self._note(None)
            except (QueueAway, ResponseError) as error:
                self._note(error)
            await asyncio.sleep(STATUS_EVERY_S)

    def _note(self, error: Exception | None) -> None:
        """Remember and log whether Redis is there."""
        reason = None if error is None else str(error.__cause__ or error)
        if error is not None and self._away in (None, NOT_YET):
            logger.error("redis_away", reason=reason)
        elif error is None and self._away is not None:
            logger.info("redis_back")
        self._away = reason

    async def _audit(self) -> None:
        """Write again what is gone without an answer."""
        while True:
            await asyncio.sleep(AUDIT_EVERY_S)
            try:
                for waiting in await self._lost():
                    logger.warning("written_again", request_id=waiting.request_id, **ids(waiting.trace))
                    self._metrics.redeliveries.inc()
                    await self._write(waiting)
            except (QueueAway, ResponseError, QueueFull) as error:
                logger.warning("audit_failed", reason=str(error.__cause__ or error))

    async def _lost(self) -> list[_Waiting]:
        before = time.monotonic() - AUDIT_AFTER_S
        streams: dict[str, dict[bytes, _Waiting]] = {}
        for waiting in self._items.values():
            if waiting.entry is not None and waiting.written < before:
                streams.setdefault(waiting.stream, {})[waiting.entry] = waiting
        if not streams:
            return []
        answers = await self.link.run([call(LOST, [stream], *known) for stream, known in streams.items()])
        lost = []
        for known, answer in zip(streams.values(), answers, strict=True):
            if isinstance(answer, ResponseError):
                raise answer
            lost += [known[entry] for entry in answer]
        return [waiting for waiting in lost if not waiting.answer.done() and waiting.number in self._items]


def _ms_until(deadline: float) -> int:
    return max(0, round(1000 * (deadline - time.monotonic())))

"""What does a job's shards: one engine that lives as long as the job, in a process of its own."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from service.batching.budget import Budget
from service.batching.local import LocalBatcher
from service.batching.pool import Pool
from service.bulk.destination import Destination
from service.bulk.part import Layout, Part
from service.bulk.record import Record
from service.bulk.rows import AT_ONCE, Reader, Row
from service.bulk.shards import Shard
from service.errors import InternalError, ServiceError
from service.runtime.bundle import choose_bundle
from service.runtime.engine import Arrays, Engine
from service.runtime.resources import available_memory, available_processors
from service.settings import read_settings
from service.tokens.pictures import Pictures, Source
from service.watch.logs import configure_logs, logger
from service.watch.metrics import Metrics

WORKER_DIED = "its worker died"
"""What is told of a shard."""


class Seen(NamedTuple):
    """A row's picture, as the model sees it."""

    id: str
    source: Source
    encoded: Arrays


class Worker:
    """Reads a shard, sends its pictures through the batcher some ahead, writes its part in their order."""

    def __init__(
        self, record: Record, source: str, root: str, destination: str, settings: dict[str, Any]
    ) -> None:
        """Load the model. Raises `BundleError` and `DeviceError`."""
        import ray  # its variables must be set by then

        configure_logs("warning", "auto")
        self._died = bool(ray.get_runtime_context().was_current_actor_reconstructed)
        """Ray hands the shard that a worker died with to the next, for ever; the job has its own tries."""
        self._settings = read_settings(**settings, api_keys=None, api_keys_file=None)
        bundle = choose_bundle(self._settings.models_dir, record.model, self._settings.device)
        engine = Engine(bundle, self._settings, tell=lambda _: None)
        self._size = engine.manifest.size
        self._layout = Layout(
            bundle.manifest, pooling=record.pooling, fit=record.fit, box=record.box, tokens=record.tokens
        )
        self._fit, self._box = record.fit, record.box
        self._reader = Reader(
            source, root, record.kind, image_column=record.image_column, id_column=record.id_column
        )
        self._destination = Destination(destination)
        self._pictures = Pictures(max_pixels=self._settings.max_image_pixels)
        processors = available_processors()
        threads = min(self._settings.threads or processors, processors)
        own = available_memory() // 2 * threads // processors  # others may be at work beside it
        self._budget = Budget(self._settings.decode_memory or own, self._settings.decode_threads)
        self._ahead = 2 * max(engine.max_batch * engine.concurrency, self._settings.max_batch)
        """Pictures on their way at any time."""
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._loop = asyncio.Runner()
        self._batcher = self._loop.run(self._start(engine))

    async def _start(self, engine: Engine) -> LocalBatcher:
        """Its batcher, which wants a running event loop."""
        pool = Pool(self._settings.decode_threads)
        return LocalBatcher.of(engine, pool, max_queue=self._ahead, metrics=Metrics())

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do a shard; its number, its rows, those that failed, when it began and ended, what went wrong."""
        shard = Shard(
            number=int(row["number"]),
            names=[str(name) for name in row["names"]],
            part=int(row["part"]),
            parts=int(row["parts"]),
        )
        began_s = time.time()
        rows = failed = 0
        reason, self._died = (WORKER_DIED if self._died else ""), False
        try:
            if not reason:
                with self._destination.part(shard.number, self._layout.schema) as part:
                    self._loop.run(self._do(shard, part))
                rows, failed = part.rows, len(part.errors)
        except Exception as error:  # the others go on; this one is for another try
            logger.exception("shard_failed", shard=shard.number)
            reason = f"{type(error).__name__}: {error}"
        return {
            "number": shard.number,
            "rows": rows,
            "failed": failed,
            "began_s": began_s,
            "ended_s": time.time(),
            "reason": reason,
        }

    async def _do(self, shard: Shard, part: Part) -> None:
        good: list[Seen] = []
        async with aclosing(self._all_seen(shard)) as results:
            async for row, seen in results:
                if isinstance(seen, ServiceError):
                    part.fail(row, seen)
                    continue
                good.append(seen)
                if len(good) == AT_ONCE:
                    self._add(good, part)
                    good.clear()
        if good:
            self._add(good, part)

    def _add(self, batch: list[Seen], part: Part) -> None:
        encoded = {name: np.stack([seen.encoded[name] for seen in batch]) for name in batch[0].encoded}
        part.add(self._layout.rows([seen.id for seen in batch], [seen.source for seen in batch], encoded))

    async def _all_seen(self, shard: Shard) -> AsyncGenerator[tuple[str, Seen | ServiceError], None]:
        """The shard's rows by their ids, in order: each picture as the model sees it, or why it does not."""
        held: deque[tuple[str, asyncio.Task[Seen | ServiceError]]] = deque()
        try:
            async for row in self._read(shard):
                held.append((row.id, asyncio.create_task(self._see(row))))
                if len(held) >= self._ahead:
                    name, task = held.popleft()
                    yield name, await task
            while held:
                name, task = held.popleft()
                yield name, await task
        finally:
            for _, task in held:
                task.cancel()
            await asyncio.gather(*(task for _, task in held), return_exceptions=True)

    async def _read(self, shard: Shard) -> AsyncIterator[Row]:
        """The shard's rows, read some ahead."""
        loop = asyncio.get_running_loop()
        rows = self._reader.rows(shard)

        def some() -> list[Row]:
            return list(islice(rows, AT_ONCE))

        following = loop.run_in_executor(self._reading, some)
        while ready := await following:
            following = loop.run_in_executor(self._reading, some)
            for row in ready:
                yield row

    async def _see(self, row: Row) -> Seen | ServiceError:
        """Raises `InternalError` where the engine fails: that is no picture's fault."""
        if isinstance(row.content, ServiceError):
            return row.content
        try:
            picture = self._pictures.picture(row.content, self._size, self._fit, self._box)
            ready = await self._budget.item(picture, "", math.inf)
            encoded = await self._batcher.submit(
                "encode", ready, outputs=self._layout.outputs, deadline=math.inf, lane="small"
            )
        except InternalError:
            raise
        except ServiceError as error:
            return error
        return Seen(row.id, picture.decoded.source, encoded)

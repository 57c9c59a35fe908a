"""Results kept for identical inputs, and identical inputs at work at the same moment run once.

A key is the SHA-256 of the model's name and version, the stage, what is wanted of it, and the inputs as the
model sees them, types and shapes included: two ways to prepare a picture are two keys, and so are two
versions of a model, or a picture's vector and its tokens.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from redis.exceptions import ResponseError

from service.batching.batcher import Batcher, Item, Outputs
from service.batching.lanes import Lane
from service.batching.layout import Malformed, pack, unpack
from service.batching.pool import Pool
from service.errors import DeadlineExceeded, QueueAway
from service.fleet.link import Link
from service.fleet.names import Names
from service.fleet.scripts import KEEP, RELEASE, call
from service.fleet.wire import check_result
from service.runtime.bundle import Manifest
from service.runtime.engine import Arrays, Stage
from service.watch.logs import logger
from service.watch.metrics import Metrics

SHARE = 4
"""Results take at most one part in so many of Redis's memory, where that is bounded."""
ROOM_EVERY_S = 60.0
"""How often a process asks Redis how much that is."""
POLL_S = 0.01
"""How often a process looks for the result that another one computes."""


@dataclass(eq=False)
class _Flight:
    """A computation, and how many wait for it."""

    task: asyncio.Task[Arrays]
    waiting: int = 0


class CachedBatcher:
    """Asks Redis, then the batcher behind it. Where Redis is away it only asks the batcher."""

    def __init__(
        self,
        inner: Batcher,
        pool: Pool,
        link: Link,
        names: Names,
        manifest: Manifest,
        *,
        ttl_s: int,
        max_bytes: int,
        metrics: Metrics,
    ) -> None:
        """Items' arrays are made in `pool`: they are the key. At most `max_bytes` are kept in all."""
        self._inner = inner
        self._pool = pool
        self._link = link
        self._names = names
        self._manifest = manifest
        self._ttl_s = ttl_s
        self._max_bytes = self._may_take = max_bytes
        self._asked = -math.inf
        self._metrics = metrics
        self._flights: dict[str, _Flight] = {}

    @property
    def provider(self) -> str:
        """See `Batcher`."""
        return self._inner.provider

    @property
    def reason(self) -> str | None:
        """See `Batcher`."""
        return self._inner.reason

    def ensure_capacity(self, stage: Stage, count: int, lane: Lane) -> None:
        """See `Batcher`."""
        self._inner.ensure_capacity(stage, count, lane)

    async def submit(
        self, stage: Stage, item: Item, *, outputs: Outputs, deadline: float, lane: Lane
    ) -> Arrays:
        """The result from the cache, from whoever computes it already, or computed; see `Batcher.submit`."""
        arrays = await self._pool.arrays(item, deadline)
        digest = self.digest(stage, arrays, outputs)
        while True:
            flight = self._flights.get(digest)
            if flight is None:
                work = self._compute(digest, stage, arrays, outputs, deadline, lane)
                flight = self._flights[digest] = _Flight(asyncio.create_task(work))
                flight.task.add_done_callback(partial(self._forget, digest, flight))
            else:
                self._metrics.cache.labels("merged").inc()
            flight.waiting += 1
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    return await asyncio.shield(flight.task)
            except DeadlineExceeded:
                if time.monotonic() < deadline:
                    continue  # it was the time of another caller that ran out
                raise
            except TimeoutError:
                raise DeadlineExceeded from None
            finally:
                flight.waiting -= 1
                if not flight.waiting:
                    self._forget(digest, flight)  # whoever comes now must not wait for what is being stopped
                    flight.task.cancel()

    def _forget(self, digest: str, flight: _Flight, _: object = None) -> None:
        if self._flights.get(digest) is flight:
            del self._flights[digest]

    def show(self) -> None:
        """See `Batcher`."""
        self._inner.show()

    async def close(self) -> None:
        """See `Batcher`."""
        await self._inner.close()

    def digest(self, stage: Stage, arrays: Arrays, outputs: Outputs) -> str:
        """The key of a result."""
        head = f"{self._manifest.id}\n{stage} {' '.join(outputs)}\n".encode()
        return hashlib.sha256(head + pack(arrays)).hexdigest()

    async def _compute(
        self, digest: str, stage: Stage, arrays: Arrays, outputs: Outputs, deadline: float, lane: Lane
    ) -> Arrays:
        """Look the result up; else compute it, unless another process does so already."""
        holder = uuid.uuid4().hex
        run = partial(self._inner.submit, stage, arrays, outputs=outputs, deadline=deadline, lane=lane)
        try:
            found = await self._find(digest, stage, outputs, holder, deadline)
        except (QueueAway, ResponseError):
            self._metrics.cache.labels("miss").inc()
            return await run()
        if found is not None:
            return found
        self._metrics.cache.labels("miss").inc()
        release = call(RELEASE, [self._names.lease(digest)], holder)
        try:
            result = await run()
        except BaseException:
            await self._tell([release])
            raise
        keys = [self._names.result(digest), self._names.results, self._names.results_bytes]
        await self._tell([call(KEEP, keys, pack(result), self._ttl_s, await self._room()), release])
        return result

    async def _room(self) -> int:
        """Bytes that results may take: what waits for a worker must always find room beside them."""
        if time.monotonic() > self._asked + ROOM_EVERY_S:
            self._asked = time.monotonic()
            with suppress(QueueAway, ResponseError):  # a user of Redis who may not ask keeps to the setting
                memory = await self._link.send("INFO", "memory")
                told = re.search(rb"\bmaxmemory:(\d+)", memory)
                most = int(told[1]) // SHARE if told else 0
                self._may_take = min(self._max_bytes, most) if most else self._max_bytes
        return self._may_take

    async def _find(
        self, digest: str, stage: Stage, outputs: Outputs, holder: str, deadline: float
    ) -> Arrays | None:
        """A kept result, as soon as there is one; None where this process holds the lease to compute it."""
        key, lease = self._names.result(digest), self._names.lease(digest)
        first = True
        while True:
            lease_ms = max(1, round(1000 * (deadline - time.monotonic())))
            data, leased = await self._link.run([("GET", key), ("SET", lease, holder, "NX", "PX", lease_ms)])
            for answer in (data, leased):
                if isinstance(answer, ResponseError):
                    raise answer
            if data is not None:
                if leased:
                    await self._tell([call(RELEASE, [lease], holder)])
                try:
                    result = unpack(data)
                    check_result(stage, self._manifest, outputs, result)
                except Malformed as error:
                    logger.warning("bad_cache_entry", reason=str(error))
                    return None
                self._metrics.cache.labels("hit" if first else "merged").inc()
                return result
            if leased:
                return None
            first = False
            await asyncio.sleep(POLL_S)

    async def _tell(self, commands: list[tuple[str | bytes | int, ...]]) -> None:
        """Write what may as well fail."""
        try:
            answers = await self._link.run(commands)
        except QueueAway:
            return
        for answer in answers:
            if isinstance(answer, ResponseError):
                logger.warning("cache_refused", reason=str(answer))

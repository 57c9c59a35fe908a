"""One model's items, run by the fleet's workers."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from service.batching.batcher import Item, Outputs
from service.batching.lanes import LANES, Lane, lane_capacity
from service.batching.pool import Pool
from service.errors import NoWorker, QueueAway, QueueFull
from service.fleet.names import GROUP, Names
from service.fleet.resp import Command
from service.fleet.scripts import STATUS, call
from service.runtime.bundle import Manifest
from service.runtime.engine import STAGES, Arrays, Stage
from service.watch.metrics import Metrics

Ask = Callable[[str, Arrays, Outputs, float], Awaitable[Arrays]]
"""Stream, inputs, names of outputs and deadline to outputs."""


class RedisBatcher:
    """Runs one model's items on the fleet's workers."""

    def __init__(
        self,
        ask: Ask,
        pool: Pool,
        connected: Callable[[], bool],
        leave: Callable[[RedisBatcher], None],
        names: Names,
        manifest: Manifest,
        *,
        max_queue: int,
        metrics: Metrics,
    ) -> None:
        """`ask` writes an item to a stream and waits for its result; `leave` is told of the end.

        Items' arrays are made in `pool`: what travels to the workers are pixels of the model's size.
        """
        self._ask = ask
        self._pool = pool
        self._leave = leave
        self._connected = connected
        self._names = names
        self._model = manifest.id
        self._max_queue = max_queue
        self._streams = [(stage, lane) for lane in LANES for stage in STAGES]
        self._depth: dict[Stage, int] = dict.fromkeys(STAGES, 0)
        self._since: dict[Stage, int] = dict.fromkeys(STAGES, 0)
        """This process's own items since Redis was last asked, which its answer can't count."""
        self._questions = 0
        self._workers: dict[str, str] = {}
        self._name = manifest.name
        self._metrics = metrics

    def question(self) -> Command:
        """Asks Redis what `note` is told; to be sent at once."""
        self._questions += 1
        self._since = dict.fromkeys(STAGES, 0)
        streams = [self._names.requests(self._model, stage, lane) for stage, lane in self._streams]
        return call(STATUS, [self._names.workers(self._model), *streams], GROUP)

    def note(self, workers: Iterable[bytes], waiting: Iterable[int]) -> None:
        """Take in who is alive and how much waits in each stream."""
        self._workers = {}
        for member in workers:
            name, _, provider = member.decode().partition("|")
            self._workers[name] = provider
        depth = dict(self._since)
        for (stage, _), count in zip(self._streams, waiting, strict=True):
            depth[stage] += max(0, count)
        self._depth = depth

    @property
    def provider(self) -> str:
        """What the workers run on, by name."""
        return ", ".join(sorted(set(self._workers.values())))

    @property
    def reason(self) -> str | None:
        """Redis is away, or no worker lives."""
        if not self._connected():
            return "the queue between this process and the workers can't be reached"
        return None if self._workers else f"no live worker serves {self._model}"

    def ensure_capacity(self, stage: Stage, count: int, lane: Lane) -> None:
        """Raise `QueueAway`, `NoWorker`, or `QueueFull` where `count` more items would not fit."""
        if not self._connected():
            raise QueueAway
        if not self._workers:
            raise NoWorker(f"No live worker serves {self._model}: try again soon.")
        if self._depth[stage] + count > lane_capacity(lane, self._max_queue):
            raise QueueFull(f"{self._max_queue} items may wait, and the queue is full: try again soon")

    async def submit(
        self, stage: Stage, item: Item, *, outputs: Outputs, deadline: float, lane: Lane
    ) -> Arrays:
        """Run one item; see `Batcher.submit`."""
        arrays = await self._pool.arrays(item, deadline)
        # What Redis said is a moment old; meanwhile the items of this process are counted here.
        asked = self._questions
        self._count(stage, 1, asked)
        try:
            return await self._ask(self._names.requests(self._model, stage, lane), arrays, outputs, deadline)
        finally:
            self._count(stage, -1, asked)

    def _count(self, stage: Stage, more: int, asked: int) -> None:
        self._depth[stage] = max(0, self._depth[stage] + more)
        if asked == self._questions:
            self._since[stage] += more

    def show(self) -> None:
        """See `Batcher`."""
        for stage in STAGES:
            depth = partial(self._known, partial(lambda stage: self._depth[stage], stage))
            self._metrics.queue_lag.labels(self._name, stage).set_function(depth)
        self._metrics.workers.labels(self._name).set_function(
            partial(self._known, lambda: len(self._workers))
        )

    def _known(self, count: Callable[[], int]) -> float:
        """A count as it is; NaN, which no alert and no maximum sees, where Redis can't tell any more."""
        return count() if self._connected() else math.nan

    async def close(self) -> None:
        """Be asked about no more."""
        self._leave(self)

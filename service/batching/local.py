"""Batches within this process.

A batch leaves as soon as a thread is free, with whatever is waiting by then: a lone item never waits for
company, and under load batches fill by themselves while the threads are busy.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import cycle
from typing import Any

import structlog

from service.batching.batch import Ran, run_batch
from service.batching.batcher import Item, Outputs
from service.batching.lanes import Lane, Lanes, lane_capacity
from service.batching.pool import Pool
from service.errors import DeadlineExceeded, InternalError, QueueFull, ServiceError
from service.runtime.engine import STAGES, Arrays, Engine, Stage
from service.watch.metrics import About, Metrics

CLOSE_S = 1.0
"""How long running batches are waited for at the end."""


@dataclass(eq=False)
class _Waiting:
    """An item that somebody waits for."""

    item: Item
    outputs: Outputs
    result: asyncio.Future[Arrays]
    deadline: float
    submitted: float
    request_id: str | None
    trace: str


class LocalBatcher:
    """Batches within this process, on threads of its own, each with a batch at a time; stages take turns."""

    reason = None

    def __init__(
        self,
        run: Callable[..., Arrays],
        *,
        model: str,
        provider: str,
        pool: Pool | None,
        max_batch: int,
        max_queue: int,
        threads: int,
        metrics: Metrics,
    ) -> None:
        """Start the threads, which call `run` as it is an `Engine`'s; needs a running event loop.

        Items' arrays are made in `pool`, or where there is none on the threads that run them; a batch waits
        for all of its own.
        """
        self._engine_run = run
        self._model = model
        self.provider = provider
        self._pool = pool
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._metrics = metrics
        self._batch_size = cache(partial(metrics.batch_size.labels, model))
        self._images = cache(partial(metrics.images.labels, model))
        self._waiting: dict[Stage, Lanes[_Waiting]] = {stage: Lanes() for stage in STAGES}
        self._turns = cycle(STAGES)
        self._taking = threading.Lock()
        self._idle: list[threading.Lock] = []
        """What idle threads wait for. The last to fall idle is called first: its caches are warm."""
        self.closed = False
        """Whether nothing is run any more."""
        loop = asyncio.get_running_loop()
        self._threads = [
            threading.Thread(target=self._work, args=(loop,), name=f"engine-{model}-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @classmethod
    def of(cls, engine: Engine, pool: Pool, *, max_queue: int, metrics: Metrics) -> LocalBatcher:
        """The batcher of an engine: a processor decodes each picture where it runs it, a GPU never waits."""
        return cls(
            engine.run,
            model=engine.manifest.name,
            provider=engine.provider,
            pool=None if engine.single else pool,
            max_batch=engine.max_batch,
            max_queue=max_queue,
            threads=engine.concurrency,
            metrics=metrics,
        )

    def ensure_capacity(self, stage: Stage, count: int, lane: Lane) -> None:
        """Raise `QueueFull` where `count` more items would not fit."""
        if len(self._waiting[stage]) + count > lane_capacity(lane, self._max_queue):
            raise QueueFull(f"{self._max_queue} items may wait, and the queue is full: try again soon")

    async def submit(
        self, stage: Stage, item: Item, *, outputs: Outputs, deadline: float, lane: Lane
    ) -> Arrays:
        """Run one item; see `Batcher.submit`."""
        self.ensure_capacity(stage, 1, "small")  # what was admitted goes on
        if self._pool is not None:
            item = await self._pool.arrays(item, deadline)
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        result = self.begin(
            stage,
            item,
            outputs=outputs,
            deadline=deadline,
            lane=lane,
            request_id=request_id,
            trace=self._metrics.trace(),
        )
        timer = result.get_loop().call_later(deadline - time.monotonic(), expire, result)
        try:
            return await result
        finally:
            timer.cancel()

    def begin(
        self,
        stage: Stage,
        item: Item,
        *,
        outputs: Outputs,
        deadline: float,
        lane: Lane,
        request_id: str | None,
        trace: str,
    ) -> asyncio.Future[Arrays]:
        """Put an item in line, whatever waits there. One that is cancelled, or whose time is over, is dropped
        without a word.
        """
        result = asyncio.get_running_loop().create_future()
        waiting = _Waiting(item, outputs, result, deadline, time.monotonic(), request_id, trace)
        self._waiting[stage].put(waiting, lane)
        with self._taking:
            if self._idle:
                self._idle.pop().release()
        return result

    def waiting(self, stage: Stage) -> int:
        """How many items wait for a stage."""
        return len(self._waiting[stage])

    def show(self) -> None:
        """See `Batcher`."""
        for stage, waiting in self._waiting.items():
            self._metrics.queue_depth.labels(self._model, stage).set_function(partial(len, waiting))

    async def close(self) -> None:
        """Stop; batches that are running may end, for a moment: the process must not wait for a decoder."""
        with self._taking:
            self.closed = True
            for call in self._idle:
                call.release()
        await asyncio.to_thread(self._join, time.monotonic() + CLOSE_S)

    def _join(self, end: float) -> None:
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """On an engine's thread: take what waits at this very moment, run it, hand out the results."""
        call = threading.Lock()
        call.acquire()
        while not self.closed:
            with self._taking:
                stage, items = self._take()
                if not items and not self.closed:
                    self._idle.append(call)
            if items:
                self._do(loop, stage, items)
            elif not self.closed:
                call.acquire()

    def _do(self, loop: asyncio.AbstractEventLoop, stage: Stage, items: list[_Waiting]) -> None:
        taken = time.monotonic()
        ran = run_batch(self._run, stage, items, model=self._model)
        loop.call_soon_threadsafe(self._deliver, stage, items, taken, ran)

    def _run(self, stage: Stage, arrays: Arrays, outputs: Outputs) -> Arrays:
        crowded = sum(map(len, self._waiting.values())) >= len(self._idle)
        return self._engine_run(stage, arrays, outputs, crowded=crowded)

    def _take(self) -> tuple[Stage, list[_Waiting]]:
        """Up to `max_batch` items of one stage that somebody still waits for."""
        stage = next(self._turns)
        if not self._waiting[stage]:
            stage = next(self._turns)
        waiting, items = self._waiting[stage], list[_Waiting]()
        now = time.monotonic()
        while waiting and len(items) < self._max_batch:
            item = waiting.pop()
            if not item.result.done() and item.deadline > now:
                items.append(item)
        return stage, items

    def _deliver(self, stage: Stage, items: list[_Waiting], taken: float, ran: Ran) -> None:
        """On the event loop."""
        metrics = self._metrics
        count = sum(not isinstance(result, ServiceError) for result in ran.results)
        about: About = {"model": self._model, "stage": stage, "batch_size": count}
        if count:
            self._batch_size(stage).observe(count)
            self._images(stage).inc(count)
            metrics.stage("inference", ran.started, ran.ended, [each.trace for each in items], **about)
        for waiting, result in zip(items, ran.results, strict=True):
            metrics.stage("queue", waiting.submitted, taken, [waiting.trace], **about)
            if waiting.result.done():
                continue
            if isinstance(result, ServiceError):
                waiting.result.set_exception(result)
            elif isinstance(result, Exception):
                waiting.result.set_exception(InternalError())
            else:
                waiting.result.set_result(result)


def expire(result: asyncio.Future[Any]) -> None:
    """On the event loop: the time of an item is over."""
    if not result.done():
        result.set_exception(DeadlineExceeded())

"""From single items to batches: `submit` one item, get its result; what waits together runs together.

A batch leaves as soon as a thread is free, with whatever is waiting by then: a lone item never waits for
company, and under load batches fill by themselves while the threads are busy.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Protocol

import structlog

from service.batch import Run, run_batch
from service.engine import STAGES, Arrays, Stage
from service.errors import DeadlineExceeded, InternalError, QueueFull
from service.lanes import Lane, Lanes, lane_capacity
from service.metrics import About, Metrics


class Batcher(Protocol):
    """What runs items; the local one below, or one across processes and hosts."""

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of what runs the items."""

    @property
    def reason(self) -> str | None:
        """Why items can't be run at the moment, or None where they can."""

    def ensure_capacity(self, stage: Stage, count: int, lane: Lane) -> None:
        """Raise `Unavailable` where `count` more items can't be taken, before any work is put into them."""

    async def submit(self, stage: Stage, arrays: Arrays, *, deadline: float, lane: Lane) -> Arrays:
        """Run one item, without a batch axis; `deadline` is a `time.monotonic()` instant.

        Cancelling the caller drops the item. Raises `Unavailable`, `DeadlineExceeded` and `InternalError`.
        """

    def show(self) -> None:
        """Let the gauges of its model tell of this one."""

    async def close(self) -> None:
        """Stop; items still waiting are dropped."""


@dataclass(eq=False)
class _Item:
    arrays: Arrays
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
        run: Run,
        *,
        model: str,
        provider: str,
        max_batch: int,
        max_queue: int,
        threads: int,
        metrics: Metrics,
    ) -> None:
        """Start the threads, which call `run` with batches; needs a running event loop."""
        self._run = run
        self._model = model
        self.provider = provider
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._metrics = metrics
        self._waiting: dict[Stage, Lanes[_Item]] = {stage: Lanes() for stage in STAGES}
        self._arrival = threading.Condition()
        self._closed = False
        loop = asyncio.get_running_loop()
        self._threads = [
            threading.Thread(target=self._work, args=(loop,), name=f"engine-{model}-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def ensure_capacity(self, stage: Stage, count: int, lane: Lane) -> None:
        """Raise `QueueFull` where `count` more items would not fit."""
        if len(self._waiting[stage]) + count > lane_capacity(lane, self._max_queue):
            raise QueueFull(f"{self._max_queue} items may wait, and the queue is full: try again soon")

    async def submit(self, stage: Stage, arrays: Arrays, *, deadline: float, lane: Lane) -> Arrays:
        """Run one item; see `Batcher.submit`."""
        self.ensure_capacity(stage, 1, "small")  # what was admitted goes on
        loop = asyncio.get_running_loop()
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        trace = self._metrics.trace()
        item = _Item(arrays, loop.create_future(), deadline, time.monotonic(), request_id, trace)
        self._waiting[stage].put(item, lane)
        with self._arrival:
            self._arrival.notify()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await item.result
        except TimeoutError:
            raise DeadlineExceeded from None

    def show(self) -> None:
        """See `Batcher`."""
        for stage, waiting in self._waiting.items():
            self._metrics.queue_depth.labels(self._model, stage).set_function(partial(len, waiting))

    async def close(self) -> None:
        """Wait for the batches that are running, and stop."""
        with self._arrival:
            self._closed = True
            self._arrival.notify_all()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """On an engine's thread: take what waits at this very moment, run it, hand out the results."""
        turns = cycle(STAGES)
        while True:
            with self._arrival:
                self._arrival.wait_for(lambda: self._closed or any(self._waiting.values()))
                if self._closed:
                    return
                stage = next(stage for stage in turns if self._waiting[stage])
                items = self._take(stage)
            if items:
                started = time.monotonic()
                results = run_batch(
                    self._run,
                    stage,
                    [item.arrays for item in items],
                    model=self._model,
                    request_ids=[item.request_id for item in items],
                    traces=[item.trace for item in items],
                )
                ended = time.monotonic()
                loop.call_soon_threadsafe(self._deliver, stage, items, results, started, ended)

    def _take(self, stage: Stage) -> list[_Item]:
        """Up to `max_batch` items that somebody still waits for."""
        waiting, items = self._waiting[stage], list[_Item]()
        now = time.monotonic()
        while waiting and len(items) < self._max_batch:
            item = waiting.pop()
            if not item.result.done() and item.deadline > now:
                items.append(item)
        return items

    def _deliver(
        self,
        stage: Stage,
        items: list[_Item],
        results: list[Arrays | Exception],
        started: float,
        ended: float,
    ) -> None:
        """On the event loop."""
        metrics = self._metrics
        about: About = {"model": self._model, "stage": stage, "batch_size": len(items)}
        metrics.batch_size.labels(self._model, stage).observe(len(items))
        metrics.images.labels(self._model, stage).inc(len(items))
        metrics.stage("inference", started, ended, [item.trace for item in items], **about)
        for item, result in zip(items, results, strict=True):
            metrics.stage("queue", item.submitted, started, [item.trace], **about)
            if item.result.done():
                continue
            if isinstance(result, Exception):
                item.result.set_exception(InternalError())
            else:
                item.result.set_result(result)

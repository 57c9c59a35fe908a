"""From single items to batches: `submit` one item, get its result; what waits together runs together.

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
from typing import NamedTuple, Protocol

import structlog

from service.batching.batch import Run, run_batch
from service.batching.lanes import Lane, Lanes, lane_capacity
from service.errors import DeadlineExceeded, InternalError, QueueFull, ServiceError
from service.runtime.engine import STAGES, Arrays, Stage
from service.watch.logs import logger
from service.watch.metrics import About, Metrics


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


Prepare = Callable[[], Arrays]
"""Makes an item's arrays; may raise `ServiceError`."""


@dataclass(eq=False)
class _Item:
    given: Arrays | Prepare
    result: asyncio.Future[Arrays]
    deadline: float
    submitted: float
    request_id: str | None
    trace: str

    def arrays(self) -> Arrays | ServiceError:
        """Its arrays, made here and now where they are not there yet; or why there are none."""
        if not callable(self.given):
            return self.given
        try:
            return self.given()
        except ServiceError as error:
            return error
        except Exception:  # whatever it is, the thread has others to serve
            logger.exception("unexpected_error", request_ids=[self.request_id])
            return InternalError()

    def expire(self) -> None:
        """On the event loop: its time is over."""
        if not self.result.done():
            self.result.set_exception(DeadlineExceeded())


class _Ran(NamedTuple):
    """When a batch was taken, run, and done."""

    stage: Stage
    taken: float
    started: float
    ended: float


class LocalBatcher:
    """Batches within this process, on threads of its own, each with a batch at a time; stages take turns."""

    reason = None

    def __init__(
        self,
        run: Callable[..., Arrays],
        *,
        model: str,
        provider: str,
        prepares: bool,
        max_batch: int,
        max_queue: int,
        threads: int,
        metrics: Metrics,
    ) -> None:
        """Start the threads, which call `run` as it is an `Engine`'s; needs a running event loop.

        `prepares` tells whether arrays had better be made there. A batch waits for all of its own.
        """
        self._run = run
        self._model = model
        self.provider = provider
        self.prepares = prepares
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._metrics = metrics
        self._batch_size = cache(partial(metrics.batch_size.labels, model))
        self._images = cache(partial(metrics.images.labels, model))
        self._waiting: dict[Stage, Lanes[_Item]] = {stage: Lanes() for stage in STAGES}
        self._turns = cycle(STAGES)
        self._taking = threading.Lock()
        self._idle: list[threading.Lock] = []
        """What idle threads wait for. The last to fall idle is called first: its caches are warm."""
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

    async def submit(self, stage: Stage, arrays: Arrays | Prepare, *, deadline: float, lane: Lane) -> Arrays:
        """Run one item; see `Batcher.submit`. Arrays that are to be made are made where they are run."""
        self.ensure_capacity(stage, 1, "small")  # what was admitted goes on
        loop = asyncio.get_running_loop()
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        now = time.monotonic()
        item = _Item(arrays, loop.create_future(), deadline, now, request_id, self._metrics.trace())
        self._waiting[stage].put(item, lane)
        with self._taking:
            if self._idle:
                self._idle.pop().release()
        timer = loop.call_later(deadline - now, item.expire)
        try:
            return await item.result
        finally:
            timer.cancel()

    def show(self) -> None:
        """See `Batcher`."""
        for stage, waiting in self._waiting.items():
            self._metrics.queue_depth.labels(self._model, stage).set_function(partial(len, waiting))

    async def close(self) -> None:
        """Wait for the batches that are running, and stop."""
        with self._taking:
            self._closed = True
            for call in self._idle:
                call.release()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """On an engine's thread: take what waits at this very moment, run it, hand out the results."""
        call = threading.Lock()
        call.acquire()
        while not self._closed:
            with self._taking:
                stage, items = self._take()
                if not items and not self._closed:
                    self._idle.append(call)
            if items:
                self._do(loop, stage, items)
            elif not self._closed:
                call.acquire()

    def _do(self, loop: asyncio.AbstractEventLoop, stage: Stage, items: list[_Item]) -> None:
        taken = time.monotonic()
        arrays = [item.arrays() for item in items]
        started = time.monotonic()
        crowded = sum(map(len, self._waiting.values())) >= len(self._idle)
        results = self._results(partial(self._run, crowded=crowded), stage, items, arrays)
        ran = _Ran(stage, taken, started, time.monotonic())
        loop.call_soon_threadsafe(self._deliver, items, results, ran)

    def _take(self) -> tuple[Stage, list[_Item]]:
        """Up to `max_batch` items of one stage that somebody still waits for."""
        stage = next(self._turns)
        if not self._waiting[stage]:
            stage = next(self._turns)
        waiting, items = self._waiting[stage], list[_Item]()
        now = time.monotonic()
        while waiting and len(items) < self._max_batch:
            item = waiting.pop()
            if not item.result.done() and item.deadline > now:
                items.append(item)
        return stage, items

    def _results(
        self, run: Run, stage: Stage, items: list[_Item], arrays: list[Arrays | ServiceError]
    ) -> list[Arrays | Exception]:
        """What comes of running them together; the error of an item that has no arrays."""
        sound = [
            (item, each)
            for item, each in zip(items, arrays, strict=True)
            if not isinstance(each, ServiceError)
        ]
        if not sound:
            return [*arrays]
        results = iter(
            run_batch(
                run,
                stage,
                [each for _, each in sound],
                model=self._model,
                request_ids=[item.request_id for item, _ in sound],
                traces=[item.trace for item, _ in sound],
            )
        )
        return [each if isinstance(each, ServiceError) else next(results) for each in arrays]

    def _deliver(self, items: list[_Item], results: list[Arrays | Exception], ran: _Ran) -> None:
        """On the event loop."""
        metrics, stage = self._metrics, ran.stage
        count = sum(not isinstance(result, ServiceError) for result in results)
        about: About = {"model": self._model, "stage": stage, "batch_size": count}
        if count:
            self._batch_size(stage).observe(count)
            self._images(stage).inc(count)
            metrics.stage("inference", ran.started, ran.ended, [item.trace for item in items], **about)
        for item, result in zip(items, results, strict=True):
            metrics.stage("queue", item.submitted, ran.taken, [item.trace], **about)
            if item.result.done():
                continue
            if isinstance(result, ServiceError):
                item.result.set_exception(result)
            elif isinstance(result, Exception):
                item.result.set_exception(InternalError())
            else:
                item.result.set_result(result)

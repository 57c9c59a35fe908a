"""One model's items, run by the engine that the processes of this host share."""

from __future__ import annotations

import time

import structlog

from service.batching.batcher import Item, Outputs
from service.batching.lanes import Lane, lane_capacity
from service.batching.pool import Pool
from service.errors import EngineAway, QueueFull
from service.host.connection import Connection
from service.host.wire import Ask
from service.runtime.engine import Arrays, Stage
from service.watch.metrics import Metrics
from service.watch.tracing import ids


class HostBatcher:
    """Runs one model's items in the engine at the other end of a connection."""

    def __init__(
        self,
        connection: Connection,
        number: int,
        provider: str,
        pool: Pool,
        *,
        max_queue: int,
        metrics: Metrics,
    ) -> None:
        """`number` is the model's. Items' arrays are made in `pool`: that is what the processes are for."""
        self._connection = connection
        self._number = number
        self.provider = provider
        self._pool = pool
        self._max_queue = max_queue
        self._metrics = metrics

    @property
    def reason(self) -> str | None:
        """The engine is away."""
        return "the engine is being started again" if self._connection.lost.is_set() else None

    def ensure_capacity(self, stage: Stage, count: int, lane: Lane) -> None:
        """Raise `EngineAway`, or `QueueFull` where `count` more items would not have fitted a moment ago: the
        engine counts again when they come.
        """
        if self._connection.lost.is_set():
            raise EngineAway
        waiting = self._connection.waiting.get(str(self._number), {}).get(stage, 0)
        if waiting + count > lane_capacity(lane, self._max_queue):
            raise QueueFull(f"{self._max_queue} items may wait, and the queue is full: try again soon")

    async def submit(
        self, stage: Stage, item: Item, *, outputs: Outputs, deadline: float, lane: Lane
    ) -> Arrays:
        """Run one item; see `Batcher.submit`."""
        arrays = await self._pool.arrays(item, deadline)
        started, trace = time.monotonic(), self._metrics.trace()
        request_id = structlog.contextvars.get_contextvars().get("request_id", "")
        result = await self._connection.ask(
            Ask(
                model=self._number,
                stage=stage,
                lane=lane,
                deadline=deadline,
                request_id=request_id,
                trace=trace,
                outputs=outputs,
                arrays=arrays,
            )
        )
        transport_s = max(0.0, time.monotonic() - started - result.engine_s)
        self._metrics.stage_duration.labels("transport").observe(transport_s, ids(trace))
        return result.arrays

    def show(self) -> None:
        """Nothing: the engine's own gauges tell of its line."""

    async def close(self) -> None:
        """Nothing: the engine closes the model when no process uses it any more."""

"""What waits is counted, however old the answer is that tells it."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import numpy as np
import pytest

from service.batching.batcher import Outputs
from service.batching.pool import Pool
from service.errors import QueueFull
from service.fleet.batcher import RedisBatcher
from service.fleet.names import Names
from service.runtime.bundle import read_bundle
from service.runtime.engine import Arrays
from service.watch.metrics import Metrics

WORKERS = [b"host-1-a|CPUExecutionProvider"]
NONE = [0, 0, 0, 0]


def test_items_that_redis_did_not_know_of_when_it_was_asked_are_counted(toy_models: Path) -> None:
    async def main() -> None:
        answered = asyncio.Event()

        async def ask(stream: str, arrays: Arrays, outputs: Outputs, deadline: float) -> Arrays:
            await answered.wait()
            return arrays

        manifest = read_bundle(toy_models / "toy").manifest
        batcher = RedisBatcher(
            ask,
            Pool(1),
            lambda: True,
            lambda _: None,
            Names("stellar"),
            manifest,
            max_queue=4,
            metrics=Metrics(),
        )

        def submit() -> asyncio.Task[Arrays]:
            item: Arrays = {"image": np.zeros((8, 8, 3), np.uint8)}
            return asyncio.create_task(
                batcher.submit("encode", item, outputs=("cls",), deadline=math.inf, lane="small")
            )

        batcher.question()
        batcher.note(WORKERS, NONE)
        known = submit()
        await asyncio.sleep(0)
        batcher.question()
        late = [submit() for _ in range(3)]
        await asyncio.sleep(0)
        batcher.note(WORKERS, [1, 0, 0, 0])  # what Redis said before it had the others
        batcher.ensure_capacity("encode", 0, "small")
        with pytest.raises(QueueFull):
            batcher.ensure_capacity("encode", 1, "small")
        batcher.question()
        answered.set()
        await asyncio.gather(known, *late)
        batcher.note(WORKERS, NONE)
        batcher.ensure_capacity("encode", 4, "small")

    asyncio.run(main())

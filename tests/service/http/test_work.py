"""A request's images at work: with a real batcher, whose engine is held while its queue is filled."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from service.batching.budget import Budget
from service.batching.lanes import Admission
from service.errors import QueueFull
from service.http.work import Work
from service.models.served import ServedModel
from service.runtime.bundle import Manifest, read_bundle
from service.tokens.pictures import Pictures
from tests.service.batching.test_batcher import Bench, run


@pytest.fixture
def manifest(toy_models: Path) -> Manifest:
    return read_bundle(toy_models / "toy").manifest


def work_of(bench: Bench, manifest: Manifest, *, at_once: int) -> Work:
    return Work(
        model=ServedModel(manifest, bench.batcher, Admission(max_admitted=9, small_items=8)),
        pictures=Pictures(max_pixels=1),
        budget=Budget(1, 1),
        metrics=bench.metrics,
        client="many",
        deadline=time.monotonic() + 60,
        fit="crop",
        at_once=at_once,
    )


def test_item_of_a_large_request_waits_where_others_have_filled_the_queue(manifest: Manifest) -> None:
    """What is half done is not given up for that; a request with nothing done yet is told at once."""

    async def work(bench: Bench) -> None:
        tries: list[float] = []
        again = asyncio.Event()

        async def double(value: float) -> float:
            tries.append(value)
            if len(tries) == 2:
                again.set()
            return float((await bench.submit(value))["y"])

        others = [await bench.busy(), bench.submit(1)]
        large = work_of(bench, manifest, at_once=1)
        asked = asyncio.create_task(large.all_of(double, [2, 3]))
        tried_again = asyncio.create_task(again.wait())
        await asyncio.wait({asked, tried_again}, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(QueueFull):
            await large.all_of(double, [4])
        bench.engine.leave.set()
        assert await asked == [4, 6]
        assert set(tries) == {2, 3, 4}
        await asyncio.gather(*others)

    run(work, max_queue=1)


def test_no_more_are_at_work_than_may_be_and_results_are_in_order(manifest: Manifest) -> None:
    async def work(bench: Bench) -> None:
        running, most = 0, 0

        async def double(value: float) -> float:
            nonlocal running, most
            running += 1
            most = max(most, running)
            result = await bench.submit(value)
            running -= 1
            return float(result["y"])

        values = [float(i) for i in range(100, 150)]
        large = work_of(bench, manifest, at_once=3)
        assert await large.all_of(double, values) == [2 * value for value in values]
        assert await large.settle(double, values) == [2 * value for value in values]
        assert most == 3

    run(work)

"""The local batcher with a plain function in the engine's place: it doubles, and notes what it was given."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from service.batching.batcher import Item, Outputs
from service.batching.local import LocalBatcher
from service.batching.pool import Pool
from service.errors import CorruptImage, DeadlineExceeded, InternalError, QueueFull
from service.runtime.engine import Arrays, Stage
from service.watch.metrics import Metrics
from tests.service.fleet.cluster import wait_until

BAD = 13.0


class Doubler:
    """Doubles; waits for leave before each batch; can't stand the number 13."""

    def __init__(self) -> None:
        self.batches: list[tuple[Stage, list[float]]] = []
        self.wanted: list[Outputs] = []
        self.crowded: list[bool] = []
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.leave.set()

    def __call__(self, stage: Stage, arrays: Arrays, outputs: Outputs, *, crowded: bool) -> Arrays:
        values = arrays["x"]
        self.wanted.append(outputs)
        self.crowded.append(crowded)
        self.batches.append((stage, [float(v) for v in values]))
        self.entered.set()
        self.leave.wait(60)
        if BAD in values:
            raise RuntimeError("not this one")
        return {"y": values * 2, "z": values * -1}


class Bench:
    """A batcher under test."""

    def __init__(self, max_batch: int, max_queue: int, threads: int, pool: Pool | None) -> None:
        self.engine = Doubler()
        self.metrics = Metrics()
        self.batcher = LocalBatcher(
            self.engine,
            model="m",
            provider="none",
            pool=pool,
            max_batch=max_batch,
            max_queue=max_queue,
            threads=threads,
            metrics=self.metrics,
        )
        self.batcher.show()

    def submit(
        self,
        value: float | Callable[[], Arrays],
        stage: Stage = "encode",
        within_s: float = 60,
        outputs: Outputs = ("y",),
    ) -> asyncio.Task[Arrays]:
        item: Item = value if callable(value) else {"x": np.array(value, np.float32)}
        return asyncio.create_task(
            self.batcher.submit(
                stage, item, outputs=outputs, deadline=time.monotonic() + within_s, lane="small"
            )
        )

    async def busy(self) -> asyncio.Task[Arrays]:
        """Put the engine to work on a first item and hold it there."""
        self.engine.leave.clear()
        self.engine.entered.clear()
        first = self.submit(0)
        await asyncio.to_thread(self.engine.entered.wait, 60)
        return first

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"model": "m", "stage": "encode"} | labels) or 0


def run(
    work: Callable[[Bench], Coroutine[Any, Any, None]],
    *,
    max_batch: int = 4,
    max_queue: int = 100,
    threads: int = 1,
    pool: Pool | None = None,
) -> None:
    async def main() -> None:
        bench = Bench(max_batch, max_queue, threads, pool)
        try:
            await work(bench)
        finally:
            bench.engine.leave.set()
            await bench.batcher.close()

    asyncio.run(main())


async def doubled(*results: Awaitable[Arrays]) -> list[float]:
    return [float(result["y"]) for result in await asyncio.gather(*results)]


def test_item_alone_is_run_alone() -> None:
    async def work(bench: Bench) -> None:
        assert await doubled(bench.submit(3)) == [6]
        assert bench.engine.batches == [("encode", [3])]

    run(work)


def test_items_that_wait_together_run_together() -> None:
    async def work(bench: Bench) -> None:
        first = await bench.busy()
        rest = [bench.submit(value) for value in range(1, 7)]
        await asyncio.sleep(0)
        bench.engine.leave.set()
        assert await doubled(first, *rest) == [0, 2, 4, 6, 8, 10, 12]
        assert [values for _, values in bench.engine.batches] == [[0], [1, 2, 3, 4], [5, 6]]
        assert bench.sample("stellar_batch_size_count") == 3
        assert bench.sample("stellar_batch_size_sum") == 7
        assert bench.sample("stellar_images_total") == 7

    run(work)


def test_items_of_which_other_things_are_wanted_run_together_too() -> None:
    async def work(bench: Bench) -> None:
        first = await bench.busy()
        rest = [bench.submit(value, outputs=outputs) for value, outputs in ((1, ("z",)), (2, ("z", "y")))]
        await asyncio.sleep(0)
        bench.engine.leave.set()
        assert await asyncio.gather(first, *rest) == [{"y": 0}, {"z": -1}, {"z": -2, "y": 4}]
        assert [values for _, values in bench.engine.batches] == [[0], [1, 2]]
        assert bench.engine.wanted == [("y",), ("z", "y")]

    run(work)


def test_arrays_are_made_on_the_thread_that_runs_them() -> None:
    made: list[str] = []

    def make() -> Arrays:
        made.append(threading.current_thread().name)
        return {"x": np.array(3, np.float32)}

    async def work(bench: Bench) -> None:
        assert await doubled(bench.submit(make)) == [6]
        assert made == ["engine-m-0"]

    run(work)


def test_arrays_are_made_in_the_pool_where_the_engine_must_not_wait() -> None:
    made: list[str] = []
    begun, leave = threading.Event(), threading.Event()

    def make() -> Arrays:
        made.append(threading.current_thread().name)
        begun.set()
        leave.wait(60)
        return {"x": np.array(3, np.float32)}

    async def work(bench: Bench) -> None:
        slow = bench.submit(make)
        await asyncio.to_thread(begun.wait, 60)
        assert await doubled(bench.submit(1)) == [2]
        with pytest.raises(DeadlineExceeded):
            await bench.submit(make, within_s=0.05)
        leave.set()
        assert await doubled(slow) == [6]
        assert {name.rpartition("_")[0] for name in made} == {"decode"}
        assert [values for _, values in bench.engine.batches] == [[1], [3]]

    pool = Pool(1)
    run(work, pool=pool)
    pool.close()


@pytest.mark.parametrize("pooled", [False, True])
def test_error_in_the_making_is_that_item_s_alone(pooled: bool) -> None:
    def damaged() -> Arrays:
        raise CorruptImage("it is damaged")

    def unforeseen() -> Arrays:
        raise RuntimeError("a bug")

    async def work(bench: Bench) -> None:
        first = await bench.busy()
        good, bad = bench.submit(1), bench.submit(damaged)
        await asyncio.sleep(0)
        bench.engine.leave.set()
        assert await doubled(first, good) == [0, 2]
        with pytest.raises(CorruptImage, match="it is damaged"):
            await bad
        assert [values for _, values in bench.engine.batches] == [[0], [1]]
        with pytest.raises(InternalError):
            await bench.submit(unforeseen)
        assert await doubled(bench.submit(2)) == [4]
        assert bench.sample("stellar_images_total") == 3
        assert bench.sample("stellar_batch_size_count") == 3

    pool = Pool(1)
    run(work, pool=pool if pooled else None)
    pool.close()


def test_end_does_not_wait_for_a_decoder() -> None:
    begun, leave, ended = threading.Event(), threading.Event(), threading.Event()

    def make() -> Arrays:
        begun.set()
        leave.wait(60)
        ended.set()
        return {"x": np.array(3, np.float32)}

    async def work(bench: Bench) -> None:
        slow = bench.submit(make)
        await asyncio.to_thread(begun.wait, 60)
        await bench.batcher.close()
        assert not ended.is_set()
        leave.set()
        assert await doubled(slow) == [6]

    run(work)


def test_engine_hears_whether_other_threads_have_work() -> None:
    async def work(bench: Bench) -> None:
        await doubled(bench.submit(0))
        assert bench.engine.crowded == [False]
        first = await bench.busy()
        bench.engine.entered.clear()
        second = bench.submit(1)
        await asyncio.to_thread(bench.engine.entered.wait, 60)
        assert bench.engine.crowded == [False, False, True]
        bench.engine.leave.set()
        await doubled(first, second)

    run(work, threads=2)


def test_thread_that_was_busy_last_is_called_first() -> None:
    names: list[str] = []

    def make() -> Arrays:
        names.append(threading.current_thread().name)
        return {"x": np.array(1, np.float32)}

    async def work(bench: Bench) -> None:
        for _ in range(8):
            await asyncio.to_thread(wait_until, lambda: len(bench.batcher._idle) == 3)
            await bench.submit(make)
        assert len(set(names)) == 1

    run(work, threads=3)


def test_threads_run_a_batch_each() -> None:
    async def work(bench: Bench) -> None:
        first = await bench.busy()
        bench.engine.entered.clear()
        second = bench.submit(1)
        await asyncio.to_thread(bench.engine.entered.wait, 60)
        rest = [bench.submit(2), bench.submit(3)]
        await asyncio.sleep(0)
        assert bench.engine.batches == [("encode", [0]), ("encode", [1])]
        bench.engine.leave.set()
        assert await doubled(first, second, *rest) == [0, 2, 4, 6]

    run(work, threads=2)


def test_stages_are_batched_apart() -> None:
    async def work(bench: Bench) -> None:
        first = await bench.busy()
        rest = [bench.submit(1), bench.submit(2, "decode"), bench.submit(3), bench.submit(4, "decode")]
        await asyncio.sleep(0)
        bench.engine.leave.set()
        assert await doubled(first, *rest) == [0, 2, 4, 6, 8]
        assert sorted(bench.engine.batches[1:]) == [("decode", [2, 4]), ("encode", [1, 3])]

    run(work)


def test_results_equal_single_runs() -> None:
    async def work(bench: Bench) -> None:
        values = [v * 0.37 for v in range(30)]
        together = await doubled(*(bench.submit(v) for v in values))
        alone = [(await doubled(bench.submit(v)))[0] for v in values]
        assert together == alone

    run(work)


def test_one_bad_item_fails_alone() -> None:
    async def work(bench: Bench) -> None:
        first = await bench.busy()
        rest = [bench.submit(value) for value in (1, BAD, 3)]
        await asyncio.sleep(0)
        bench.engine.leave.set()
        assert await doubled(first, rest[0], rest[2]) == [0, 2, 6]
        with pytest.raises(InternalError):
            await rest[1]
        assert await doubled(bench.submit(5)) == [10]

    run(work)


def test_item_of_another_shape_fails_alone_or_runs_alone() -> None:
    """It can't be stacked with the others; they must not suffer."""

    async def work(bench: Bench) -> None:
        first = await bench.busy()
        odd = {"x": np.zeros((2, 2), np.float32)}
        rest = [bench.submit(1), bench.submit(2)]
        await asyncio.sleep(0)
        misfit = asyncio.create_task(
            bench.batcher.submit(
                "encode",
                odd,  # type: ignore[arg-type]
                outputs=("y",),
                deadline=time.monotonic() + 60,
                lane="small",
            )
        )
        await asyncio.sleep(0)
        bench.engine.leave.set()
        assert await doubled(first, *rest) == [0, 2, 4]
        with pytest.raises(InternalError):
            await misfit
        assert await doubled(bench.submit(5)) == [10]

    run(work)


def test_full_queue_refuses() -> None:
    async def work(bench: Bench) -> None:
        first = await bench.busy()
        waiting = [bench.submit(1), bench.submit(2)]
        await asyncio.sleep(0)
        assert bench.sample("stellar_queue_depth") == 2
        with pytest.raises(QueueFull, match="2 items may wait"):
            await bench.submit(3)
        bench.batcher.ensure_capacity("decode", 2, "small")
        with pytest.raises(QueueFull):
            bench.batcher.ensure_capacity("decode", 3, "small")
        bench.engine.leave.set()
        assert await doubled(first, *waiting) == [0, 2, 4]
        assert await doubled(bench.submit(4)) == [8]
        assert bench.sample("stellar_queue_depth") == 0

    run(work, max_queue=2)


def test_queue_depth_falls_when_a_batch_is_taken() -> None:
    """And not only when it is done."""

    async def work(bench: Bench) -> None:
        first = await bench.busy()
        assert bench.sample("stellar_queue_depth") == 0
        bench.engine.leave.set()
        await first

    run(work)


def test_item_beyond_its_deadline_is_given_up_and_never_runs() -> None:
    async def work(bench: Bench) -> None:
        first = await bench.busy()
        late = bench.submit(1, within_s=0.01)
        with pytest.raises(DeadlineExceeded):
            await late
        bench.engine.leave.set()
        assert await doubled(first, bench.submit(2)) == [0, 4]
        assert [values for _, values in bench.engine.batches] == [[0], [2]]

    run(work)


def test_deadline_in_the_past_is_refused() -> None:
    async def work(bench: Bench) -> None:
        with pytest.raises(DeadlineExceeded):
            await bench.submit(1, within_s=-1)
        assert await doubled(bench.submit(2)) == [4]

    run(work)


def test_deadline_passes_while_the_item_runs() -> None:
    async def work(bench: Bench) -> None:
        bench.engine.leave.clear()
        with pytest.raises(DeadlineExceeded):
            await bench.submit(1, within_s=0.05)
        bench.engine.leave.set()
        assert await doubled(bench.submit(2)) == [4]

    run(work)


def test_cancelled_items_never_run() -> None:
    async def work(bench: Bench) -> None:
        first = await bench.busy()
        gone, stays = bench.submit(1), bench.submit(2)
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        bench.engine.leave.set()
        assert await doubled(first, stays) == [0, 4]
        assert [values for _, values in bench.engine.batches] == [[0], [2]]
        assert bench.sample("stellar_images_total") == 2

    run(work)


def test_close_waits_for_the_batch_that_runs() -> None:
    async def work(bench: Bench) -> None:
        first = await bench.busy()
        closing = asyncio.create_task(bench.batcher.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        bench.engine.leave.set()
        await closing
        assert await doubled(first) == [0]

    run(work)


def test_close_drops_what_waits() -> None:
    async def work(bench: Bench) -> None:
        await bench.busy()
        waiting = bench.submit(1)
        await asyncio.sleep(0)
        bench.engine.leave.set()
        await bench.batcher.close()
        waiting.cancel()
        assert bench.engine.batches == [("encode", [0])]

    run(work)

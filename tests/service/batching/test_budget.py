"""Room for large pictures, with plain functions in the place of decoders: they wait for leave."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from service.batching.budget import SMALL_BYTES, Budget
from service.errors import CorruptImage, DeadlineExceeded, TooMuchMemory
from service.runtime.engine import Arrays

MIB = 2**20
TOTAL = 1000 * MIB


@dataclass
class Picture:
    """One that is decoded when it may."""

    name: str
    cost: int
    begun: list[str]
    leave: threading.Event = field(default_factory=threading.Event)

    def arrays(self) -> Arrays:
        self.begun.append(self.name)
        assert self.leave.wait(60)
        return {"x": np.array(self.cost)}


class Bench:
    """A budget under test."""

    def __init__(self, threads: int) -> None:
        self.budget = Budget(TOTAL, threads)
        self.begun: list[str] = []
        self.pictures: dict[str, Picture] = {}

    def ask(self, name: str, mib: int, within_s: float = 60) -> asyncio.Task[Any]:
        """A picture for the client that the name begins with."""
        picture = self.pictures[name] = Picture(name, mib * MIB, self.begun)
        return asyncio.create_task(self.budget.item(picture, name[0], time.monotonic() + within_s))

    async def until(self, *names: str) -> None:
        """Wait until these have begun, in this order, and no others."""
        for _ in range(6000):
            await asyncio.sleep(0.01)
            if len(self.begun) >= len(names):
                break
        assert self.begun == list(names)

    def end(self, *names: str) -> None:
        for name in names:
            self.pictures[name].leave.set()


def run(work: Callable[[Bench], Coroutine[Any, Any, None]], threads: int = 8) -> None:
    async def main() -> None:
        bench = Bench(threads)
        try:
            await work(bench)
        finally:
            bench.end(*bench.pictures)
            bench.budget.close()

    asyncio.run(main())


def test_small_pictures_pass_by_and_large_ones_come_back_as_arrays() -> None:
    async def work(bench: Bench) -> None:
        small = Picture("small", SMALL_BYTES, bench.begun)
        assert await bench.budget.item(small, "a", 0) == small.arrays
        asked = bench.ask("large", 17)
        bench.end("large")
        assert await asked == {"x": np.array(17 * MIB)}

    run(work)


def test_what_does_not_fit_beside_others_waits() -> None:
    async def work(bench: Bench) -> None:
        asked = [bench.ask(f"a{i}", 400) for i in range(3)]
        await bench.until("a0", "a1")
        bench.end("a0")
        await bench.until("a0", "a1", "a2")
        bench.end("a1", "a2")
        await asyncio.gather(*asked)

    run(work)


def test_no_more_are_decoded_than_there_are_threads() -> None:
    async def work(bench: Bench) -> None:
        asked = [bench.ask(f"a{i}", 20) for i in range(3)]
        await bench.until("a0", "a1")
        bench.end("a1")
        await bench.until("a0", "a1", "a2")
        bench.end("a0", "a2")
        await asyncio.gather(*asked)

    run(work, threads=2)


def test_client_with_the_fewest_bytes_at_work_goes_first() -> None:
    async def work(bench: Bench) -> None:
        names = ["a0", "a1", "a2", "b0", "b1", "c0"]
        asked = [bench.ask(name, 400) for name in names]
        await bench.until("a0", "a1")  # nobody else had asked
        bench.end("a0")
        await bench.until("a0", "a1", "b0")
        bench.end("a1")
        await bench.until("a0", "a1", "b0", "a2")  # neither a nor c has any now; a has waited longer
        bench.end("b0")
        await bench.until("a0", "a1", "b0", "a2", "c0")
        bench.end("a2")
        await bench.until("a0", "a1", "b0", "a2", "c0", "b1")
        bench.end("b1", "c0")
        await asyncio.gather(*asked)

    run(work)


def test_the_largest_finds_room_though_smaller_ones_keep_coming() -> None:
    async def work(bench: Bench) -> None:
        first = [bench.ask("a0", 400), bench.ask("b0", 400)]
        await bench.until("a0", "b0")
        huge, late = bench.ask("c0", 1000), bench.ask("d0", 20)
        bench.end("a0")
        await asyncio.sleep(0.05)
        await bench.until("a0", "b0")
        bench.end("b0")
        await bench.until("a0", "b0", "c0")
        bench.end("c0", "d0")
        await asyncio.gather(*first, huge, late)

    run(work)


def test_what_never_fits_is_refused_with_what_to_do() -> None:
    async def work(bench: Bench) -> None:
        with pytest.raises(TooMuchMemory, match=r"takes 1001 MiB; 1000 are allowed.*STELLAR_DECODE_MEMORY"):
            await bench.ask("a0", 1001)

    run(work)


def test_deadline_ends_the_waiting_and_what_was_begun_keeps_its_room() -> None:
    async def work(bench: Bench) -> None:
        begun, waits = bench.ask("a0", 800, within_s=0.1), bench.ask("b0", 400, within_s=0.1)
        for asked in (begun, waits):
            with pytest.raises(DeadlineExceeded):
                await asked
        later = bench.ask("c0", 400)
        await asyncio.sleep(0.05)
        await bench.until("a0")
        bench.end("a0", "c0")
        await later
        assert bench.begun == ["a0", "c0"]

    run(work)


def test_callers_that_leave_make_room() -> None:
    async def work(bench: Bench) -> None:
        asked = [bench.ask("a0", 800), bench.ask("b0", 900), bench.ask("c0", 200)]
        await bench.until("a0")
        asked[1].cancel()
        await bench.until("a0", "c0")
        asked[0].cancel()
        bench.end("a0", "c0")
        await asked[2]
        whole = bench.ask("d0", 1000)
        bench.end("d0")
        await whole

    run(work)


def test_room_of_what_fails_is_free_again() -> None:
    def damaged() -> Arrays:
        raise CorruptImage("it is damaged")

    async def work(bench: Bench) -> None:
        for _ in range(3):
            with pytest.raises(CorruptImage):
                await bench.budget.run(damaged, TOTAL, "a", time.monotonic() + 60)

    run(work)


def test_error_that_nobody_waits_for_is_not_logged() -> None:
    async def work(bench: Bench) -> None:
        leave, logged = threading.Event(), list[dict[str, Any]]()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))

        def damaged() -> Arrays:
            bench.begun.append("damaged")
            assert leave.wait(60)
            raise CorruptImage("it is damaged")

        asked = asyncio.create_task(bench.budget.run(damaged, TOTAL, "a", time.monotonic() + 60))
        await bench.until("damaged")
        asked.cancel()
        await asyncio.wait([asked])
        del asked  # which holds what it waited for
        leave.set()
        await bench.budget.run(dict, TOTAL, "b", time.monotonic() + 60)
        gc.collect()  # of what was never looked at asyncio tells then
        assert not logged

    run(work)


def test_end_does_not_wait_for_what_is_being_decoded() -> None:
    async def work(bench: Bench) -> None:
        asked = bench.ask("a0", 20)
        await bench.until("a0")
        bench.budget.close()
        assert not asked.done()
        bench.end("a0")
        await asked

    run(work)

"""Whose turn it is among a worker's threads, without a worker."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
import pytest

from service.batching.lanes import Lane
from service.fleet.jobs import Job, Source
from service.fleet.lineup import Lineup, Look
from service.fleet.wire import Request, Taken
from service.runtime.bundle import read_bundle

NUMBERS = count()
REQUEST = Request(number=1, reply_to="r", ttl_ms=5, request_id="", trace="", outputs=("cls",))


@pytest.fixture(scope="module")
def taken(toy_models: Path) -> Taken:
    return Taken.by("encode", read_bundle(toy_models / "toy").manifest)


def job(taken: Taken, lane: Lane = "small") -> Job:
    source = Source(f"stream:{lane}", "toy", "encode", lane, taken)
    return Job(source, f"{next(NUMBERS)}-0".encode(), REQUEST, {"image": np.zeros((8, 8, 3), np.uint8)})


def put(lineup: Lineup, jobs: list[Job], *, suspect: bool = False) -> list[Job]:
    for each in jobs:
        lineup.put(each, suspect=suspect)
    return jobs


def all_awaited(_: Job) -> bool:
    return True


def test_nobody_waits_for_items_that_could_not_run(taken: Taken) -> None:
    lineup = Lineup({"toy": 4}, 1)
    assert lineup.look() == Look(4, 4, wait=True)
    assert lineup.look() is None  # one is enough for one batch
    jobs = put(lineup, [job(taken)])
    lineup.found(small=1, more=False)
    lineup.looked()
    assert lineup.take(all_awaited) == jobs
    assert lineup.look() is None
    lineup.ran(jobs)
    assert lineup.look() == Look(4, 4, wait=True)


def test_one_batch_is_fetched_ahead_where_more_waits(taken: Taken) -> None:
    lineup = Lineup({"toy": 4}, 1)
    assert lineup.look()
    put(lineup, [job(taken) for _ in range(4)])
    lineup.found(small=4, more=True)
    lineup.looked()
    first = lineup.take(all_awaited)
    assert len(first) == 4
    assert lineup.look() == Look(4, 1, wait=False)
    put(lineup, [job(taken) for _ in range(3)])
    lineup.found(small=3, more=False)
    lineup.looked()
    assert lineup.take(all_awaited) == []  # no more than one runs
    assert lineup.look() is None
    lineup.ran(first)
    assert len(lineup.take(all_awaited)) == 3


@pytest.mark.parametrize(("max_batch", "least"), [(8, 2), (4, 1), (1, 0.25)])
def test_bulk_items_have_a_quarter_at_least(max_batch: int, least: float) -> None:
    lineup = Lineup({"toy": max_batch}, 1)
    shares = []
    for _ in range(8):
        lineup.found(small=max_batch, more=True)
        look = lineup.look()
        assert look is not None
        assert look.small == max_batch
        shares.append(look.bulk)
        lineup.looked()
    assert sum(shares) / len(shares) == least
    lineup.found(small=0, more=True)
    look = lineup.look()
    assert look is not None
    assert look.bulk == max_batch


def test_item_whose_worker_died_runs_alone(taken: Taken) -> None:
    lineup = Lineup({"toy": 4}, 2)
    running = put(lineup, [job(taken)])
    assert lineup.take(all_awaited) == running
    waiting, suspects = put(lineup, [job(taken)]), put(lineup, [job(taken), job(taken)], suspect=True)
    assert lineup.take(all_awaited) == []
    assert lineup.look() is None
    lineup.ran(running)
    for suspect in suspects:
        assert lineup.take(all_awaited) == [suspect]
        assert lineup.take(all_awaited) == []
        lineup.ran([suspect])
    assert lineup.take(all_awaited) == waiting


def test_what_was_taken_is_run_before_the_end(taken: Taken) -> None:
    lineup = Lineup({"toy": 4}, 1)
    jobs = put(lineup, [job(taken)])
    lineup.stop()
    assert lineup.rest()
    assert lineup.take(all_awaited) == jobs
    lineup.ran(jobs)
    assert lineup.look() is None
    assert not lineup.rest()
    assert len(lineup.held()) == 1
    lineup.settle(jobs)
    assert lineup.held() == []

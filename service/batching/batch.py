"""A batch in which every item has its own result or its own error."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from service.batching.batcher import Item, made
from service.errors import ServiceError
from service.runtime.engine import Arrays, Stage
from service.watch.logs import logger
from service.watch.tracing import ids

Run = Callable[[Stage, Arrays], Arrays]
"""Runs arrays that have the batch as their first axis."""


class Ran(NamedTuple):
    """A batch that is over."""

    results: list[Arrays | Exception]
    """Of each item: what came of it, `ServiceError` where it has no arrays, or what `run` raised."""
    started: float
    """When all arrays were there, and `run` began: a `time.monotonic()` instant."""
    ended: float


def run_batch(
    run: Run,
    stage: Stage,
    items: Sequence[Item],
    *,
    model: str,
    request_ids: Sequence[str | None],
    traces: Sequence[str],
) -> Ran:
    """Make the items' arrays, here and now, and run them together.

    A batch that fails runs again item by item: only the bad one fails.
    """
    results: list[Arrays | Exception | None] = [None] * len(items)
    arrays: dict[int, Arrays] = {}
    for i, (item, request_id) in enumerate(zip(items, request_ids, strict=True)):
        try:
            arrays[i] = made(item, request_id)
        except ServiceError as error:
            results[i] = error
    started = time.monotonic()
    if arrays:
        ran = _run(
            run,
            stage,
            list(arrays.values()),
            model=model,
            request_ids=[request_ids[i] for i in arrays],
            traces=[traces[i] for i in arrays],
        )
        for i, result in zip(arrays, ran, strict=True):
            results[i] = result
    return Ran([result for result in results if result is not None], started, time.monotonic())


def _run(
    run: Run,
    stage: Stage,
    items: Sequence[Arrays],
    *,
    model: str,
    request_ids: Sequence[str | None],
    traces: Sequence[str],
) -> list[Arrays | Exception]:
    try:
        batch = {name: np.stack([item[name] for item in items]) for name in items[0]}
        out = run(stage, batch)
    except Exception as error:
        known = sorted({request_id for request_id in request_ids if request_id})
        traced = sorted({trace_id for trace in traces for trace_id in ids(trace).values()})
        logger.exception("batch_failed", model=model, stage=stage, request_ids=known, trace_ids=traced)
        if len(items) == 1:
            return [error]
        alone = [
            _run(run, stage, [item], model=model, request_ids=[request_id], traces=[trace])
            for item, request_id, trace in zip(items, request_ids, traces, strict=True)
        ]
        return [result for [result] in alone]
    return [{name: array[i] for name, array in out.items()} for i in range(len(items))]

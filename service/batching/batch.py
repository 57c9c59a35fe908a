"""A batch in which every item has its own result or its own error."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from service.batching.batcher import Item, Outputs, made
from service.errors import ServiceError
from service.runtime.engine import Arrays, Stage
from service.watch.logs import logger
from service.watch.tracing import ids

Run = Callable[[Stage, Arrays, Outputs], Arrays]
"""Runs arrays that have the batch as their first axis, for the outputs of these names at least."""


class Asked(Protocol):
    """One item of a batch."""

    @property
    def item(self) -> Item: ...
    @property
    def outputs(self) -> Outputs: ...
    @property
    def request_id(self) -> str | None: ...
    @property
    def trace(self) -> str: ...


class Ran(NamedTuple):
    """A batch that is over."""

    results: list[Arrays | Exception]
    """Of each item: what came of it, `ServiceError` where it has no arrays, or what `run` raised."""
    started: float
    """When all arrays were there, and `run` began: a `time.monotonic()` instant."""
    ended: float


def run_batch(run: Run, stage: Stage, batch: Sequence[Asked], *, model: str) -> Ran:
    """Make the items' arrays, here and now, and run them together.

    A batch that fails runs again item by item: only the bad one fails.
    """
    results: list[Arrays | Exception | None] = [None] * len(batch)
    arrays: dict[int, Arrays] = {}
    for i, asked in enumerate(batch):
        try:
            arrays[i] = made(asked.item, asked.request_id)
        except ServiceError as error:
            results[i] = error
    started = time.monotonic()
    if arrays:
        ran = _run(run, stage, list(arrays.values()), [batch[i] for i in arrays], model)
        for i, result in zip(arrays, ran, strict=True):
            results[i] = result
    return Ran([result for result in results if result is not None], started, time.monotonic())


def _stacked(arrays: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    """With the batch as first axis; a lone one is not copied."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


def _run(
    run: Run, stage: Stage, items: Sequence[Arrays], batch: Sequence[Asked], model: str
) -> list[Arrays | Exception]:
    outputs = tuple(dict.fromkeys(name for asked in batch for name in asked.outputs))
    try:
        out = run(stage, {name: _stacked([item[name] for item in items]) for name in items[0]}, outputs)
    except Exception as error:
        known = sorted({asked.request_id for asked in batch if asked.request_id})
        traced = sorted({trace_id for asked in batch for trace_id in ids(asked.trace).values()})
        logger.exception("batch_failed", model=model, stage=stage, request_ids=known, trace_ids=traced)
        if len(items) == 1:
            return [error]
        alone = [_run(run, stage, [item], [asked], model) for item, asked in zip(items, batch, strict=True)]
        return [result for [result] in alone]
    return [{name: out[name][i] for name in asked.outputs} for i, asked in enumerate(batch)]

"""A batch in which every item has its own result or its own error."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from service.runtime.engine import Arrays, Stage
from service.watch.logs import logger
from service.watch.tracing import ids

Run = Callable[[Stage, Arrays], Arrays]
"""Runs arrays that have the batch as their first axis."""


def run_batch(
    run: Run,
    stage: Stage,
    items: Sequence[Arrays],
    *,
    model: str,
    request_ids: Sequence[str | None],
    traces: Sequence[str],
) -> list[Arrays | Exception]:
    """Run items together. A batch that fails runs again item by item: only the bad one fails."""
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
            run_batch(run, stage, [item], model=model, request_ids=[request_id], traces=[trace])
            for item, request_id, trace in zip(items, request_ids, traces, strict=True)
        ]
        return [result for [result] in alone]
    return [{name: array[i] for name, array in out.items()} for i in range(len(items))]

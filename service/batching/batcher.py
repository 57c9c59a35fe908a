"""The door to whatever runs a model: `submit` one item, get its result. What waits together runs together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from service.batching.lanes import Lane
from service.errors import InternalError, ServiceError
from service.runtime.engine import Arrays, Stage
from service.watch.logs import logger

Item = Arrays | Callable[[], Arrays]
"""An item's arrays, without a batch axis, or what makes them: a picture, which is decoded then.

Each batcher decides where that is done. It is called once, on any thread, and may raise `ServiceError`.
"""
Outputs = tuple[str, ...]
"""The names of what is wanted of an item: some of `OUTPUTS` of its stage, or of `MADE_OF`."""


class Batcher(Protocol):
    """What runs items: in this process, or across processes and hosts; callers need not know."""

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of what runs the items."""

    @property
    def reason(self) -> str | None:
        """Why items can't be run at the moment, or None where they can."""

    def ensure_capacity(self, stage: Stage, count: int, lane: Lane) -> None:
        """Raise `Unavailable` where `count` more items can't be taken, before any work is put into them."""

    async def submit(
        self, stage: Stage, item: Item, *, outputs: Outputs, deadline: float, lane: Lane
    ) -> Arrays:
        """Run one item; `deadline` is a `time.monotonic()` instant.

        Cancelling the caller drops the item. Raises what the item raises, `Unavailable`, `DeadlineExceeded`
        and `InternalError`.
        """

    def show(self) -> None:
        """Let the gauges of its model tell of this one."""

    async def close(self) -> None:
        """Stop; items still waiting are dropped."""


def made(item: Item, request_id: str | None) -> Arrays:
    """Its arrays, made here and now where they are not there yet.

    Raises `ServiceError`; whatever else goes wrong is logged and becomes `InternalError`, because the thread
    has others to serve.
    """
    if not callable(item):
        return item
    try:
        return item()
    except ServiceError:
        raise
    except Exception:
        logger.exception("unexpected_error", request_ids=[request_id] if request_id else [])
        raise InternalError from None

"""What a worker has to do, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from service.batching.lanes import Lane
from service.fleet.wire import Request
from service.runtime.engine import Stage


@dataclass(frozen=True)
class Source:
    """A stream of requests."""

    stream: str
    model: str
    stage: Stage
    lane: Lane


@dataclass(frozen=True, eq=False)
class Job:
    """An entry that a worker has taken."""

    source: Source
    entry: bytes
    request: Request

"""What things are called in Redis; every name begins with the prefix and the format of what stands there."""

from __future__ import annotations

from dataclasses import dataclass

from service.batching.lanes import LANES, Lane
from service.runtime.engine import STAGES, Stage

FORMAT = 2
"""Releases that write otherwise have another one, and with it other names: they never read each other's."""
GROUP = "workers"
"""The consumer group of every stream of requests."""
REPLY_TTL_MS = 60_000
"""Answers to a process that is gone disappear after this long."""


@dataclass(frozen=True)
class Names:
    """Names below a prefix; `model` is name@version."""

    prefix: str

    @property
    def _top(self) -> str:
        return f"{self.prefix}:{FORMAT}"

    def requests(self, model: str, stage: Stage, lane: Lane) -> str:
        """Stream of the requests for a stage of a model."""
        return f"{self._top}:{model}:{stage}:{lane}"

    def all_requests(self, model: str) -> list[str]:
        """The streams of all stages and lanes of a model."""
        return [self.requests(model, stage, lane) for lane in LANES for stage in STAGES]

    def workers(self, model: str) -> str:
        """Sorted set of a model's workers by when they are given up, in Redis's milliseconds."""
        return f"{self._top}:{model}:workers"

    def replies(self, process: str) -> str:
        """Stream of the answers to one API process."""
        return f"{self._top}:replies:{process}"

    @property
    def dead(self) -> str:
        """Stream of the requests that no worker could take."""
        return f"{self._top}:dead"

    def result(self, digest: str) -> str:
        """A cached result."""
        return f"{self._top}:result:{digest}"

    @property
    def results(self) -> str:
        """Sorted set of all cached results by when they end."""
        return f"{self._top}:results"

    @property
    def results_bytes(self) -> str:
        """Bytes that they take."""
        return f"{self._top}:results:bytes"

    def lease(self, digest: str) -> str:
        """Held by the process that computes a result."""
        return f"{self._top}:lease:{digest}"

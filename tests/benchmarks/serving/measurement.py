"""What was measured in one window of time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict


class Measurement(BaseModel):
    """One server under one load, once. Latencies are those of good answers, in milliseconds."""

    model_config = ConfigDict(frozen=True)
    seconds: float
    """Length of the window."""
    answered: int
    failed: int
    """Errors, and with a fixed rate also what was never answered."""
    p50_ms: float
    p99_ms: float
    client_cpu_s: float
    """What the load generator itself took; 0 for the bare loop, which has none."""
    cpu_s: float = 0.0
    """User and system time of all processes of the server."""
    cpu_s_by_part: dict[str, float] = {}
    """The same by what a process is: `api`, `engine`, `worker`, `redis` or `other`."""
    peak_mb: float = 0.0
    """Largest proportional set size of all processes of the server."""
    start_s: float = 0.0
    """From the start of the process to its first good answer."""

    @property
    def images_per_s(self) -> float:
        return self.answered / self.seconds

    @property
    def cpu_ms_per_image(self) -> float:
        return 1000 * self.cpu_s / max(1, self.answered)


def measure(latencies_s: Sequence[float], *, seconds: float, failed: int, client_cpu_s: float) -> Measurement:
    """The measurement of a window with these latencies."""
    ordered = sorted(latencies_s)
    return Measurement(
        seconds=seconds,
        answered=len(ordered),
        failed=failed,
        p50_ms=1000 * percentile(ordered, 0.50),
        p99_ms=1000 * percentile(ordered, 0.99),
        client_cpu_s=client_cpu_s,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least value that `share` of the ordered values do not exceed; NaN where there are none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan

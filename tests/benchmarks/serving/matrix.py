"""Which loads are measured, on all servers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.benchmarks.serving.bundles import B16, TINY


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One load: a model, a size of picture, and a number of clients or a rate."""

    model: str = TINY
    megapixels: float = 0.1
    concurrency: int
    rate_share: float | None = None
    """In an open loop, the rate as a share of what the bare loop makes with `concurrency` at work."""
    pictures: int = 1
    """How many different ones are sent in turn; where there are several, a picture's answers must be the same
    to the last bit."""

    @property
    def name(self) -> str:
        load = f"open-{self.rate_share:g}" if self.rate_share else f"{self.concurrency}"
        return f"{self.model}-{self.megapixels:g}mp-{load}"

    @property
    def title(self) -> str:
        load = f"{self.concurrency} at a time"
        if self.rate_share:
            load = f"arriving at {100 * self.rate_share:.0f} % of the bare loop's rate"
        return f"{self.model}, {self.megapixels:g} megapixels, {load}"

    @property
    def closed(self) -> Cell:
        """The closed loop that an open one takes its rate from."""
        return replace(self, rate_share=None)


QUICK = (
    Cell(concurrency=1),
    Cell(concurrency=32),
    Cell(concurrency=32, rate_share=0.7),
    Cell(concurrency=32, megapixels=12),
)
FULL = (
    Cell(concurrency=1),
    Cell(concurrency=8),
    Cell(concurrency=32),
    Cell(concurrency=128),
    Cell(concurrency=32, rate_share=0.7),
    Cell(concurrency=32, megapixels=2),
    Cell(concurrency=32, megapixels=12),
    Cell(concurrency=8, model=B16),
)

"""Which loads are measured on which servers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One load: a model, a size of picture, and a number of clients or a rate."""

    model: str
    megapixels: float
    concurrency: int
    rate_share: float | None = None
    """In an open loop, the rate as a share of what the bare loop makes with `concurrency` at work."""

    @property
    def name(self) -> str:
        load = f"open-{self.rate_share:g}" if self.rate_share else f"{self.concurrency}"
        return f"{self.model}-{self.megapixels:g}mp-{load}"

    @property
    def closed(self) -> Cell:
        """The closed loop that an open one takes its rate from."""
        return Cell(model=self.model, megapixels=self.megapixels, concurrency=self.concurrency)

"""What a worker has to do, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from service.batching.batcher import Outputs
from service.batching.lanes import Lane
from service.fleet.names import Names
from service.fleet.wire import Request, Taken
from service.runtime.bundle import Manifest
from service.runtime.engine import Arrays, Stage


@dataclass(frozen=True)
class Source:
    """A stream of requests."""

    stream: str
    model: str
    stage: Stage
    lane: Lane
    taken: Taken
    """What an entry must hold."""

    @classmethod
    def of(cls, names: Names, manifest: Manifest, stage: Stage, lane: Lane) -> Source:
        """Of a stage and a lane of a model."""
        stream, taken = names.requests(manifest.id, stage, lane), Taken.by(stage, manifest)
        return cls(stream, manifest.id, stage, lane, taken)


@dataclass(frozen=True, eq=False)
class Job:
    """An entry that a worker has taken."""

    source: Source
    entry: bytes
    request: Request
    item: Arrays

    @property
    def outputs(self) -> Outputs:
        return self.request.outputs

    @property
    def request_id(self) -> str:
        return self.request.request_id

    @property
    def trace(self) -> str:
        return self.request.trace

    @property
    def written_ms(self) -> int:
        """When it was written, by Redis's clock."""
        return int(self.entry.partition(b"-")[0])

"""A bulk job from its beginning, or from where it was stopped, to its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from service.bulk.cluster import connected
from service.bulk.destination import Destination
from service.bulk.record import Options, Record
from service.bulk.rows import Reader
from service.bulk.shards import Shard, plan
from service.bulk.worker import WORKER_DIED, Worker
from service.client.stream import progress_bar
from service.runtime.bundle import choose_bundle
from service.runtime.providers import PROVIDERS, find_gpu
from service.runtime.resources import available_processors
from service.settings import Settings
from service.tokens.names import escaped

FOR_WORKERS = {
    *("models_dir", "device", "allow_fallback", "engine_cache_dir", "max_batch", "max_image_pixels"),
    *("decode_threads", "decode_memory"),
}
"""Settings that go to the workers; no secret is among them."""
TRIES = 3
"""Times that a shard is tried which can't be read, or whose worker dies."""
MAX_BLOCKS = 10_000
"""Blocks of Ray Data; more shards than these share them."""


@dataclass(kw_only=True)
class Summary:
    """What this run of a job did."""

    shards: int
    done_before: int
    rows: int = 0
    failed: int = 0
    """Rows that could not be read."""
    began_s: float = float("inf")
    ended_s: float = 0.0
    left: dict[int, str] = field(default_factory=dict)
    """Shards that are not done, and why."""
    any_failed: bool = False
    """Whether there are rows that could not be read, in this run or before."""

    def add(self, result: dict[str, Any]) -> None:
        """Count what a worker tells of a shard."""
        if result["reason"]:
            self.left[result["number"]] = result["reason"]
            return
        self.rows += result["rows"]
        self.failed += result["failed"]
        self.began_s = min(self.began_s, result["began_s"])
        self.ended_s = max(self.ended_s, result["ended_s"])

    @property
    def images_per_s(self) -> float:
        """Pictures from the first shard's beginning to the last one's end."""
        return (self.rows + self.failed) / max(self.ended_s - self.began_s, 1e-9)


class Job:
    """A source, a destination, and what is to be done."""

    def __init__(self, source: str, destination: str, options: Options, settings: Settings) -> None:
        """Find the shards and claim the destination.

        Raises `ValueError` for what can't be used, `BundleError`, and `OSError` where storage fails.
        """
        self._device, _, number = settings.device.partition(":")
        if number:
            raise ValueError(
                f"device: expected {self._device}, got {settings.device}: each worker gets a GPU of its own"
            )
        for place in (source, destination, str(Path.cwd())):
            _expect_utf_8(place)
        self._destination = Destination(destination)
        if self._destination.lies_within(source):
            raise ValueError(f"{escaped(destination)} lies within the source: name another folder")
        self._settings = settings
        self._source = source
        self._plan = plan(source, options.shard_bytes)
        reader = Reader(
            source,
            self._plan.root,
            self._plan.kind,
            image_column=options.image_column,
            id_column=options.id_column,
        )
        reader.check(self._plan.shards[0])
        manifest = choose_bundle(settings.models_dir, settings.model, settings.device).manifest
        chosen = options.model_copy(update={"pooling": manifest.pooling(options.pooling)})
        self._record = Record(
            model=manifest.id,
            source=self._plan.address,
            kind=self._plan.kind,
            shards=len(self._plan.shards),
            digest=self._plan.digest,
            **chosen.model_dump(),
        )
        self._destination.claim(self._record)

    @property
    def left_out(self) -> str:
        """A line on what else the source holds, if anything."""
        return self._plan.left_out

    def run(self, *, workers: int, address: str | None) -> Summary:
        """Do what is left, on this machine or on the cluster at `address`.

        Raises `DeviceError`, `ClusterError`, and `OSError` where the destination's storage fails.
        """
        if address is None and self._device != "cpu":  # Ray would wait for a GPU to come
            find_gpu(PROVIDERS[self._device][0], 0)
        left = self._left()
        summary = Summary(shards=len(self._plan.shards), done_before=len(self._plan.shards) - len(left))
        if left:
            threads = self._threads(workers, address)
            with connected(address, workers * threads) as data, progress_bar(shown=True) as bar:
                line = bar.add_task("shards", total=summary.shards, completed=summary.done_before)
                for _ in range(TRIES):
                    for result in self._results(data, left, min(workers, len(left)), threads):
                        summary.add(result)
                        bar.update(
                            line,
                            advance=not result["reason"],
                            description=f"{summary.images_per_s:.0f} images/s, shards",
                        )
                    if not (left := self._left()):
                        break
        summary.left = {shard.number: summary.left.get(shard.number, WORKER_DIED) for shard in left}
        summary.any_failed = self._destination.any_failed()
        return summary

    def _left(self) -> list[Shard]:
        done = self._destination.done()
        return [shard for shard in self._plan.shards if shard.number not in done]

    def _threads(self, workers: int, address: str | None) -> int:
        """Processors of a worker: as set, else this machine's shared among them, or of a cluster one."""
        own = 1 if address else max(1, available_processors() // workers)
        return self._settings.threads or own

    def _results(
        self, data: Any, shards: Sequence[Shard], workers: int, threads: int
    ) -> Iterator[dict[str, Any]]:
        """What workers tell of shards, as they are done."""
        settings = self._settings.model_dump(include=FOR_WORKERS, exclude_unset=True) | {"threads": threads}
        rows = data.from_items(
            [asdict(shard) for shard in shards], override_num_blocks=min(len(shards), MAX_BLOCKS)
        )
        return rows.map(  # type: ignore[no-any-return]
            Worker,
            fn_constructor_args=(
                *(self._record, self._source, self._plan.root, self._destination.address),
                settings,
            ),
            # One shard at a time: those that wait behind another die with its worker.
            compute=data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
            num_cpus=threads,
            num_gpus=0 if self._device == "cpu" else 1,
        ).iter_rows()


def _expect_utf_8(place: str) -> None:
    """Raise `ValueError` for a path that Ray can't start with: it keeps its command and folder as text."""
    try:
        place.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{escaped(place)} is not UTF-8, and Ray takes no such path: reach it by a link (ln -s)"
        ) from None

"""What a worker has taken and not yet answered, and what its threads may do next."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Condition
from typing import NamedTuple

from service.batching.lanes import BULK_TURN, Lanes
from service.fleet.jobs import Job
from service.runtime.engine import STAGES, Stage


class Look(NamedTuple):
    """How a thread is to look into Redis."""

    small: int
    """Most items of each stream of small ones."""
    bulk: int
    wait: bool
    """Whether to wait a moment for the first."""


class Lineup:
    """Items in line, by model and stage, and batches that run; many threads may ask."""

    def __init__(self, max_batch: Mapping[str, int], concurrency: int) -> None:
        """`max_batch` is each model's, `concurrency` how many batches run at a time."""
        self._max_batch = max_batch
        self._most = max(max_batch.values())
        self._concurrency = concurrency
        self._changed = Condition()
        """Held by whoever looks at or changes what follows."""
        self._ready: dict[tuple[str, Stage], Lanes[Job]] = {
            (model, stage): Lanes() for model in max_batch for stage in STAGES
        }
        self._num_ready = 0
        self._suspects: deque[Job] = deque()
        """Items whose last worker died, perhaps of them. The first may be running: alone."""
        self._held: dict[tuple[str, bytes], Job] = {}
        """All that the worker has claimed and not yet answered."""
        self._running = 0
        """Batches that run."""
        self._looking = 0
        """Threads that look for another one."""
        self._more = False
        """Whether a look has found as much as it might take: more may wait."""
        self._small = self._looks = 0
        self._stopping = False

    @property
    def stopping(self) -> bool:
        """Whether nothing more is taken."""
        return self._stopping

    @property
    def is_crowded(self) -> bool:
        """Whether there is work for all threads."""
        return self._running + self._num_ready >= self._concurrency

    def waiting(self, model: str, stage: Stage) -> Callable[[], int]:
        """What tells how many items are in line."""
        return partial(len, self._ready[model, stage])

    def stop(self) -> None:
        """Take nothing more; what was taken is still run."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def put(self, job: Job, *, suspect: bool) -> None:
        """Put an item in line."""
        with self._changed:
            self._held[job.source.stream, job.entry] = job
            if suspect:
                self._suspects.append(job)
                self._changed.notify_all()
            else:
                self._ready[job.source.model, job.source.stage].put(job, job.source.lane)
                self._num_ready += 1

    def take(self, awaited: Callable[[Job], bool]) -> list[Job]:
        """A batch of the longest line, of items that are `awaited`; it counts as running until `ran`.

        Nothing where none is ready, or no more may run.
        """
        with self._changed:
            if not self._can_run():
                return []
            jobs = self._next_batch(awaited)
            self._running += bool(jobs)
            if self._can_run() or self._may_look():
                self._changed.notify()
            return jobs

    def ran(self, jobs: Sequence[Job]) -> None:
        """A batch has run."""
        with self._changed:
            self._running -= 1
            if self._suspects and self._suspects[0] is jobs[0]:
                self._suspects.popleft()
            if self._can_run():
                self._changed.notify()

    def look(self) -> Look | None:
        """How to look for more, until `looked`; None where there is no need.

        Small items go first, and of the bulk ones at least a quarter of what may be taken.
        """
        with self._changed:
            if not self._may_look():
                return None
            self._looking += 1
            if not self._more:
                return Look(self._most, self._most, wait=True)
            self._looks += 1
            least = self._most // BULK_TURN or int(self._looks % BULK_TURN == 0)
            return Look(self._most, max(self._most - self._small, least), wait=False)

    def found(self, *, small: int, more: bool) -> None:
        """A look has found so many small items, and more may wait or not."""
        with self._changed:
            self._small, self._more = small, more

    def looked(self) -> None:
        """A look is over, and what it found is in line."""
        with self._changed:
            self._looking -= 1

    def rest(self) -> bool:
        """Wait until there is something to do; False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._can_run() or self._may_look() or self._is_over())
            return not self._is_over()

    def held(self) -> list[tuple[str, bytes]]:
        """Streams and entries of all that is not yet answered."""
        with self._changed:
            return list(self._held)

    def settle(self, jobs: Sequence[Job]) -> None:
        """These are answered, or nobody waits for them any more."""
        with self._changed:
            for job in jobs:
                self._held.pop((job.source.stream, job.entry), None)

    def _next_batch(self, awaited: Callable[[Job], bool]) -> list[Job]:
        if self._suspects:
            if awaited(self._suspects[0]):
                return [self._suspects[0]]
            self._suspects.popleft()
            return []
        (model, _), line = max(self._ready.items(), key=lambda entry: len(entry[1]))
        jobs: list[Job] = []
        while line and len(jobs) < self._max_batch[model]:
            job = line.pop()
            self._num_ready -= 1
            if awaited(job):
                jobs.append(job)
        return jobs

    def _can_run(self) -> bool:
        return self._has_ready() and self._running < (1 if self._suspects else self._concurrency)

    def _may_look(self) -> bool:
        """Whether what comes could run at once, or next where more waits than that."""
        batches = self._running + self._looking + math.ceil(self._num_ready / self._most)
        return not self._suspects and not self._stopping and batches < self._concurrency + self._more

    def _is_over(self) -> bool:
        return self._stopping and not self._has_ready()

    def _has_ready(self) -> bool:
        return bool(self._suspects or self._num_ready)

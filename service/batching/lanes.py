"""Fair order: the few items that a client has at work go ahead of the bulk of those who send many."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, Literal, TypeVar

from service.errors import QueueFull

Lane = Literal["small", "bulk"]
LANES: tuple[Lane, ...] = ("small", "bulk")
BULK_TURN = 4
"""One item in this many is a bulk one, so that bulk work goes on under any load."""

T = TypeVar("T")


class Lanes(Generic[T]):
    """A queue for each lane. One thread may put while another pops, and one at a time may pop."""

    def __init__(self) -> None:
        self._waiting: dict[Lane, deque[T]] = {lane: deque() for lane in LANES}
        self._pops = 0

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, item: T, lane: Lane) -> None:
        """Add an item at the end of its lane."""
        self._waiting[lane].append(item)

    def pop(self) -> T:
        """The next item: a small one, save for one turn in four. Raises `IndexError` where none waits."""
        self._pops += 1
        for lane in reversed(LANES) if self._pops % BULK_TURN == 0 else LANES:
            if self._waiting[lane]:
                return self._waiting[lane].popleft()
        raise IndexError("no item waits")


def lane_capacity(lane: Lane, max_queue: int) -> int:
    """Items that may wait before a lane takes no more: a quarter is kept free for small work."""
    return max_queue if lane == "small" else max(1, max_queue * 3 // 4)


class Admission:
    """How many images each client has at work, from before they are decoded, and what they weigh."""

    def __init__(self, *, max_admitted: int, small_items: int) -> None:
        self._max_admitted = max_admitted
        self._small_items = small_items
        self._admitted = 0
        self._at_work: Counter[str] = Counter()

    def lane(self, client: str, count: int) -> Lane:
        """The lane of a client's next images, `count` in all, or that weigh as much."""
        return "small" if self._at_work[client] + count <= self._small_items else "bulk"

    @contextmanager
    def admit(self, client: str, count: int, lane: Lane) -> Iterator[None]:
        """Keep places for `count` images until they are done. Raises `QueueFull` where they don't fit."""
        if self._admitted + count > lane_capacity(lane, self._max_admitted):
            raise QueueFull(f"{self._admitted} images are at work: try again soon")
        self._admitted += count
        try:
            with self.weigh(client, count):
                yield
        finally:
            self._admitted -= count

    @contextmanager
    def weigh(self, client: str, weight: int) -> Iterator[None]:
        """Count an image that costs much as `weight` more: what its client sends next is bulk sooner."""
        self._at_work[client] += weight
        try:
            yield
        finally:
            self._at_work[client] -= weight
            if not self._at_work[client]:
                del self._at_work[client]

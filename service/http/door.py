"""The door: which connections are open, and who goes where there are too many.

At most `Door.most` are open. A new one then takes the place of the one that has been at rest for longest: it
is silent, sends its head slowly, takes no more of its answer, or has had all of it. So nobody holds places
without requests at work, and those are bounded by rates and times. There is no limit by address: behind one
stand whole companies, and proxies.

A connection is its transport here: the door can end it, or read no further, whatever it speaks.
"""

from __future__ import annotations

import asyncio
import resource
from collections import deque
from collections.abc import Callable

from service.errors import ServiceError
from service.http.middleware import PROBE
from service.settings import Settings
from service.watch.logs import logger
from service.watch.metrics import Metrics

SPARE = 16
"""Connections beyond the most, let in where all others are at work, so that probes are answered."""
KEPT_FILES = 128
"""Descriptors that are not for connections: models, Redis, pages, logs."""
PAUSE_S = 0.002
"""Between pieces that are thrown away, whosever they are: who sends fast takes no more of the event loop."""
LONGEST_TICK_S = 1.0
"""Longer is our own fault: the event loop was busy, and what had come lay unread."""


class Door:
    """All connections of a server."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.limits = settings
        self.most = min(settings.max_connections, _most_connections())
        self._metrics = metrics
        self._open: dict[asyncio.Transport, Callable[[float, float], None]] = {}
        """And what looks at each of them."""
        self._resting: dict[asyncio.Transport, None] = {}
        """Those whose requests are not at work; the one that has rested longest is the first."""
        self._thrown_away: deque[asyncio.Transport] = deque()
        """Those that wait until the next piece of what they are sent is read, and thrown away."""
        self._checked = 0.0

    def enter(self, connection: asyncio.Transport, check: Callable[[float, float], None]) -> bool:
        """A connection was opened; True where it is let in beyond the most, as all others are at work.

        `check` looks at it, and is told the loop's time and the seconds since it was called last.
        """
        self._open[connection] = check
        if len(self._open) > self.most:
            oldest = next(iter(self._resting), None)
            if oldest is not None:
                self.leave(oldest)
                oldest.abort()
            elif len(self._open) > self.most + SPARE:
                del self._open[connection]
                connection.abort()
                return False
        self._resting[connection] = None
        return len(self._open) > self.most

    def leave(self, connection: asyncio.Transport) -> None:
        """A connection is lost, or was ended."""
        self._open.pop(connection, None)
        self._resting.pop(connection, None)

    def work(self, connection: asyncio.Transport) -> None:
        """It has a request at work."""
        self._resting.pop(connection, None)

    def rest(self, connection: asyncio.Transport) -> None:
        """It has been answered, or does not take its answer."""
        if connection in self._open:
            self._resting.setdefault(connection)

    def refuses(self, url: bytes) -> bool:
        """Whether a request on a spare connection finds no place: probes always do."""
        path = url.partition(b"?")[0].decode("latin-1")
        return len(self._open) > self.most and not PROBE.fullmatch(path)

    def refused(self, error: ServiceError, request_id: str, client: tuple[str, int] | None) -> None:
        """Tell of a request that was no more than begun."""
        self._metrics.of_route("unknown", error.status)[0].inc()
        self._metrics.rejected.labels(error.code).inc()
        logger.info(
            "refused",
            code=error.code,
            status=error.status,
            client=client and client[0],
            request_id=request_id,
        )

    def throw_away(self, connection: asyncio.Transport) -> None:
        """Read on in its turn, for what came and what still comes is thrown away."""
        connection.pause_reading()
        self._thrown_away.append(connection)
        if len(self._thrown_away) == 1:
            asyncio.get_running_loop().call_later(PAUSE_S, self._next_piece)

    def _next_piece(self) -> None:
        connection = self._thrown_away.popleft()
        if not connection.is_closing():
            connection.resume_reading()
        if self._thrown_away:
            asyncio.get_running_loop().call_later(PAUSE_S, self._next_piece)

    def check(self) -> None:
        """Look at every connection: to be called a few times a second."""
        now = asyncio.get_running_loop().time()
        tick_s = min(now - self._checked, LONGEST_TICK_S)
        self._checked = now
        for check in tuple(self._open.values()):
            check(now, tick_s)


def _most_connections() -> int:
    """What the process's descriptors allow, of which it may have as many as the system lets it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(2, max(hard // 2, hard - KEPT_FILES) - SPARE)

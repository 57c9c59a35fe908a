"""The service as its users have it: a process of its own that listens on a port."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import httpx

from tests.service.process import Process, pause

START_TIMEOUT_S = 60
SERVE = ("-m", "service.cli", "serve")


class Server(Process):
    """`stellar-service serve` in a process, and a client that talks to it."""

    def __init__(
        self,
        log: Path,
        settings: dict[str, str],
        *arguments: str,
        command: tuple[str, ...] = SERVE,
        port: int | None = None,
        python: Path | str = sys.executable,
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = port or free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(log, settings, *command, "--port", str(self.port), *arguments, python=python)
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.stop()
        if error is None:
            self.check_log()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to become true while the process lives."""
        began = time.monotonic()
        while not condition():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < began + START_TIMEOUT_S, self.log
            pause(began)

    def answers(self, path: str, status: int) -> bool:
        """Whether a GET is answered with this status."""
        try:
            return self.client.get(path).status_code == status
        except httpx.TransportError:
            return False

    def metric(self, line: str) -> float:
        """The value of a metric, written with its labels; 0 where it does not exist yet."""
        return value_of(line, self.client.get("/metrics").text)

    def embedded(self, *photos: bytes, **options: str) -> list[list[float]]:
        """What /embed says of photos."""
        answer = self.client.post("/embed", files=[("image", photo) for photo in photos], params=options)
        return [item["embedding"] for item in answer.json()["data"]]


def value_of(line: str, metrics: str) -> float:
    """The value of a metric in an answer of /metrics."""
    for each in metrics.splitlines():
        name, _, value = each.rpartition(" ")
        if name == line:
            return float(value)
    return 0.0


@contextmanager
def running(
    log: Path,
    settings: dict[str, str],
    *arguments: str,
    command: tuple[str, ...] = SERVE,
    port: int | None = None,
    python: Path | str = sys.executable,
) -> Iterator[Server]:
    """A server that is ready, on a free port unless one is given."""
    with Server(log, settings, *arguments, command=command, port=port, python=python) as server:
        server.wait_until(lambda: server.answers("/healthz/ready", 200))
        yield server

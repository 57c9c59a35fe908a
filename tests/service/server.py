"""The service as its users have it: a process of its own that listens on a port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
SERVE = ("-m", "service.cli", "serve")


class Server:
    """`stellar-service serve` in a process, a client that talks to it, and its log."""

    def __init__(
        self,
        log: Path,
        settings: dict[str, str],
        *arguments: str,
        command: tuple[str, ...] = SERVE,
        port: int | None = None,
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = port or free.getsockname()[1]
        self.log_path = log
        self.url = f"http://127.0.0.1:{self.port}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STELLAR_")}
        environment |= {"STELLAR_THREADS": "1", "STELLAR_LOG_FORMAT": "json"} | settings
        with log.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, *command, "--port", str(self.port), *arguments],
                env=environment,
                stderr=stderr,
            )
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.stop()

    @property
    def log(self) -> str:
        """What the process has logged."""
        return self.log_path.read_text()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of one kind."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to become true while the process lives."""
        end = time.monotonic() + START_TIMEOUT_S
        while not condition():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.02)

    def answers(self, path: str, status: int) -> bool:
        """Whether a GET is answered with this status."""
        try:
            return self.client.get(path).status_code == status
        except httpx.TransportError:
            return False

    def metric(self, line: str) -> float:
        """The value of a metric, written with its labels; 0 where it does not exist yet."""
        for each in self.client.get("/metrics").text.splitlines():
            name, _, value = each.rpartition(" ")
            if name == line:
                return float(value)
        return 0.0

    def embedded(self, *photos: bytes, **options: str) -> list[list[float]]:
        """What /embed says of photos."""
        answer = self.client.post("/embed", files=[("image", photo) for photo in photos], params=options)
        return [item["embedding"] for item in answer.json()["data"]]

    def stop(self) -> int:
        """End by SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@contextmanager
def running(
    log: Path,
    settings: dict[str, str],
    *arguments: str,
    command: tuple[str, ...] = SERVE,
    port: int | None = None,
) -> Iterator[Server]:
    """A server that is ready, on a free port unless one is given."""
    with Server(log, settings, *arguments, command=command, port=port) as server:
        server.wait_until(lambda: server.answers("/healthz/ready", 200))
        yield server

"""A real server process for the tests, and photos to send to it."""

from __future__ import annotations

import io
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

import httpx
import pytest
import skimage.data
from PIL import Image

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30


class Server:
    """`stellar-service serve` as a process of its own."""

    def __init__(self, log: Path, settings: dict[str, str], *arguments: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.log_path = log
        environment = {k: v for k, v in os.environ.items() if not k.startswith("STELLAR_")}
        environment |= {"STELLAR_THREADS": "1", "STELLAR_LOG_FORMAT": "json"} | settings
        with log.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", "serve", "--port", str(port), *arguments],
                env=environment,
                stderr=stderr,
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

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

    def stop(self) -> int:
        """End by SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)


StartServer = Callable[..., Server]


@contextmanager
def running(log: Path, settings: dict[str, str], *arguments: str) -> Iterator[Server]:
    """A server that is ready."""
    with Server(log, settings, *arguments) as server:
        server.wait_until(lambda: server.answers("/healthz/ready", 200))
        yield server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the bundled model and default settings, for tests that leave it as it is."""
    with running(tmp_path_factory.mktemp("server") / "log", {}) as started:
        yield started


@pytest.fixture
def client(server: Server) -> httpx.Client:
    """A client of that server."""
    return server.client


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """An image file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A photo as JPEG."""
    return encoded(Image.fromarray(skimage.data.chelsea()), quality=92)


@pytest.fixture(scope="session")
def other_photo() -> bytes:
    """Another one."""
    return encoded(Image.fromarray(skimage.data.coffee()), quality=92)

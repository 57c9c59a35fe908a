"""The service as its users have it: a process of its own that listens on a port."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

PATIENCE_S = 60.0


class Server:
    """A server process, a client that talks to it, and its log."""

    def __init__(
        self, log: Path, arguments: list[str], settings: dict[str, str], command: list[str] | None = None
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE_S)
        self._log = log
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STELLAR_")}
        environment |= {"STELLAR_THREADS": "1", "STELLAR_LOG_FORMAT": "json"} | settings
        command = command or ["-m", "service.cli", "serve"]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *command, "--port", str(self.port), *arguments], stderr=file, env=environment
            )

    def wait_until_ready(self) -> Server:
        """Every model is loaded and warm."""
        self.wait_for(lambda: self._status("/healthz/ready") == 200)
        return self

    def wait_until_live(self) -> Server:
        """The process answers."""
        self.wait_for(lambda: self._status("/healthz/live") == 200)
        return self

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Look again and again; give up, and show the log, when the process ends or takes for ever."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.02)

    def metric(self, sample: str) -> float:
        """The value of one sample, such as `stellar_images_total{model="m",stage="encode"}`; 0 if absent."""
        text = self.client.get("/metrics").text
        found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    @property
    def log(self) -> str:
        """Everything that was logged so far."""
        return self._log.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log's lines."""
        return [json.loads(line) for line in self.log.splitlines()]

    def stop(self) -> int:
        """End it as an operator does, and return its exit code."""
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def _status(self, path: str) -> int:
        try:
            return self.client.get(path).status_code
        except httpx.ConnectError:
            return 0

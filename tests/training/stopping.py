"""A command of `stellar-train` that a signal stops, as a scheduler does it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from threading import Event, Thread

from typer.testing import CliRunner, Result

from training.cli import app


def stopped(command: str, work: Path, run: str, *options: str) -> Result:
    """The command in this process, sent SIGTERM once the run in this folder below `work` has done a step."""
    metrics, ended = work / run / "metrics.jsonl", Event()

    def stop() -> None:
        while not (metrics.exists() and metrics.read_bytes()):
            if ended.wait(0.01):
                return
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = Thread(target=stop)
    before = signal.signal(signal.SIGTERM, _late)
    stopping.start()
    try:
        return CliRunner().invoke(app, [command, "--work", str(work), *options])
    finally:
        ended.set()
        stopping.join()
        signal.signal(signal.SIGTERM, before)


def _late(*_: object) -> None:
    raise AssertionError("the signal came when no run listened")

"""A process of ours as its users have it, and its log: an error that nobody expected fails the test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.forked import SERVICE, Forked

STOP_TIMEOUT_S = 30
ERRORS = ("error", "critical")
TRACES = ("Traceback", "Exception ignored", "Fatal Python error")
"""What lines begin with that Python writes where nobody logs."""
HUNG_UP = ("-c", "import os, signal; from service.cli import app; os.kill(os.getpid(), signal.SIGHUP); app()")
"""Before a command: it is told to read its models anew long before it has read them."""


def pause(began: float) -> None:
    """Between looks at what is waited for since `began`: the longer it takes, the less often one looks."""
    time.sleep(min(max(0.02, (time.monotonic() - began) / 10), 0.2))


class Process:
    """One thread, a log in JSON, and settings by variables."""

    def __init__(
        self, log: Path, settings: dict[str, str], *command: str, python: Path | str = sys.executable
    ) -> None:
        self.log_path = log
        self.expected: set[str] = set()
        """Events of level error that belong to the test."""
        self._checked = 0
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STELLAR_")}
        environment |= {"STELLAR_THREADS": "1", "STELLAR_LOG_FORMAT": "json"} | settings
        self.process: Forked | subprocess.Popen[bytes]
        with log.open("w") as stderr:
            if python == sys.executable and command[0] == "-m" and "PYTHONPATH" not in settings:
                self.process = Forked(SERVICE, *command[1:], environment=environment, stderr=stderr)
            else:
                self.process = subprocess.Popen([python, *command], env=environment, stderr=stderr)

    @property
    def log(self) -> str:
        """What the process has logged."""
        return self.log_path.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log's lines; one that a killed process has left half is none."""
        lines = self.log.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of one kind."""
        return [line for line in self.events if line["event"] == event]

    @property
    def worked_s(self) -> float:
        """Processor time that it has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime: proc(5)

    def expect(self, *events: str) -> None:
        """These errors belong to the test."""
        self.expected |= set(events)

    def check_log(self) -> None:
        """Fail where it tells, since the last check, of an error that was not expected; then expect none."""
        events, expected = self.events, self.expected
        new, self._checked, self.expected = events[self._checked :], len(events), set()
        errors = [event for event in new if event["level"] in ERRORS and event["event"] not in expected]
        assert not errors, f"{self.log_path.name}: unexpected: {errors[:3]}"
        traces = [line for line in self.log.splitlines() if line.startswith(TRACES)]
        assert not traces, self.log

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End by SIGTERM; the exit code."""
        self.send(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

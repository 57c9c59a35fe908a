"""`stellar-service bulk` as its users have it, and what it has written."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.forked import SERVICE, Forked

TIMEOUT_S = 240


class Job(Forked):
    """A job that runs."""

    def __init__(self, arguments: tuple[object, ...], environment: Mapping[str, str]) -> None:
        self._told = tempfile.TemporaryFile("w+")  # noqa: SIM115
        command = ("service.cli", "bulk", *map(str, arguments))
        super().__init__(SERVICE, *command, environment=environment, stderr=self._told)

    def ended(self) -> tuple[int, str]:
        """Wait for its end; exit code and standard error."""
        code = self.wait()
        with self._told:
            self._told.seek(0)
            return code, self._told.read()


class Bulk:
    """`stellar-service bulk` as a process, in an environment of its own."""

    def __init__(self, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STELLAR_")}
        self.environment = kept | {"STELLAR_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "200"} | environment

    def start(self, *arguments: object, **environment: str) -> Job:
        """Start a job."""
        return Job(arguments, self.environment | environment)

    def __call__(self, *arguments: object, **environment: str) -> tuple[int, str]:
        """Exit code and standard error of a job."""
        return self.start(*arguments, **environment).ended()


def rows(destination: Path, within: str = "") -> pa.Table:
    """What a job has written of pictures below a folder, in the order of ids."""
    table = pq.read_table(destination / "parts").sort_by("id")
    return table.filter(pc.starts_with(table["id"], within))


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)

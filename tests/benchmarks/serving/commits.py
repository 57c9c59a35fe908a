"""The service as an older commit has it."""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.serving.contenders import ROOT


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A folder with the `service` of a commit, gone when the block ends.

    Raises `ValueError` where there is no such commit, or no service in it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        archive, folder = Path(scratch) / "service.tar", Path(scratch) / "code"
        command = ["git", "archive", f"--output={archive}", commit, "service"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"{commit} can't be had: {done.stderr.strip()}")
        with tarfile.open(archive) as files:
            files.extractall(folder, filter="data")
        yield folder

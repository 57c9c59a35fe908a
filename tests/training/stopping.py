"""A command of `stellar-train` that a signal stops, as a scheduler does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def stopped(command: str, work: Path, run: str, *options: str) -> subprocess.CompletedProcess[str]:
    """The command, told to stop by SIGTERM once the run in this folder below `work` has done a step."""
    process = subprocess.Popen(
        [sys.executable, "-m", "training.cli", command, "--work", str(work), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    metrics = work / run / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_bytes()):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

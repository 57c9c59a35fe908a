"""What each start of a run was made with: a line in `starts.jsonl`."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from training.run.processes import Processes

STARTS_FILE = "starts.jsonl"


def record_start(folder: Path, step: int, processes: Processes) -> None:
    """Append time, first step, versions of the code and of what it stands on, and the devices."""
    on_gpu = processes.device.type == "cuda"
    start = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "step": step,
        "version": version("stellar-service"),
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(processes.device) if on_gpu else platform.machine(),
        "processes": processes.world_size,
        "arguments": sys.argv[1:],
    }
    with (folder / STARTS_FILE).open("a") as file:
        file.write(json.dumps(start) + "\n")


def _commit() -> str | None:
    """The commit of the source tree, with a plus where it was changed since; None outside a repository."""
    tree = Path(__file__).parents[1]
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],  # noqa: S607
            cwd=tree,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()

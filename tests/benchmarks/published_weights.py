"""The whole way of a published model, full size: download, verify, export, serve, one request.

Weights are random, in the published layout of B/16 (492 tensors, tokenizer included), on a small hub of our
own on the loopback: the network's share is nothing. Memory is the most that a process had resident at a time;
processor time hardly depends on what else the machine does, the clock does.
Run with `python -m tests.benchmarks.published_weights`.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import httpx
import torch
from rich.console import Console
from rich.table import Table
from safetensors import safe_open

from model import PRESETS, Stellar, save_checkpoint
from model.published import REPOSITORY
from tests.model.hub import Hub
from tests.service.photos import photo
from tests.service.server import Server

NAME = "stellar-b16"
PROCESSOR_S = "process_cpu_seconds_total"


def _publish(folder: Path) -> Path:
    checkpoint = folder / REPOSITORY / "main" / f"{NAME}.safetensors"
    checkpoint.parent.mkdir(parents=True)
    torch.manual_seed(0)
    save_checkpoint(Stellar(PRESETS["b16"]), checkpoint)
    return checkpoint


def _run(command: Sequence[str], variables: dict[str, str]) -> tuple[float, float, float]:
    """Seconds by the clock, seconds of processors, and MiB of a command."""
    started = time.monotonic()
    process = os.posix_spawn(sys.executable, [sys.executable, *command], os.environ | variables)
    _, status, usage = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} failed")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def _peak(process: int) -> float:
    """MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) / 1024


def _mib(files: Iterable[Path]) -> float:
    return sum(file.stat().st_size for file in files) / 2**20


def _measure(folder: Path) -> Table:
    table = Table("step", "clock s", "processor s", "MiB", title=NAME)

    def add(step: str, clock_s: float, processor_s: float, peak_mib: float) -> None:
        table.add_row(step, f"{clock_s:.1f}", f"{processor_s:.1f}", f"{peak_mib:.0f}")

    checkpoint = _publish(folder / "published")
    with safe_open(checkpoint, framework="pt") as file:
        count = len(list(file.keys()))
    with Hub(folder / "published") as hub:
        hub.digest(checkpoint)  # the real one knows it, too
        variables = {"HF_HOME": str(folder / "cache"), "HF_ENDPOINT": hub.url}
        models = folder / "models"
        fetch = f"from model.published import fetch_weights; fetch_weights({NAME!r})"
        add("download, verify, load", *_run(("-c", fetch), variables))
        export = ("-m", "model.cli", "download", NAME, "--out", str(models))
        add(
            "load from the cache, export, compare with PyTorch",
            *_run(export, variables | {"HF_HUB_OFFLINE": "1"}),
        )
    started = time.monotonic()
    with Server(folder / "log", {"STELLAR_THREADS": "0"}, "--models", str(models)) as server:
        while not server.answers("/healthz/ready", 200):
            assert server.process.poll() is None, server.log
            time.sleep(0.1)
        ready_s = server.metric(PROCESSOR_S)
        add("serve, until ready", time.monotonic() - started, ready_s, _peak(server.process.pid))
        started = time.monotonic()
        httpx.post(f"{server.url}/tokens", files={"image": photo("chelsea")}, timeout=600).raise_for_status()
        elapsed, processor_s = time.monotonic() - started, server.metric(PROCESSOR_S) - ready_s
        add("one /tokens", elapsed, processor_s, _peak(server.process.pid))
    weights_mib = _mib([checkpoint])
    bundle_mib = _mib((models / NAME).iterdir())
    table.caption = f"checkpoint {weights_mib:.0f} MiB, {count} tensors; bundle {bundle_mib:.0f} MiB"
    return table


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        Console().print(_measure(Path(folder)))


if __name__ == "__main__":
    main()

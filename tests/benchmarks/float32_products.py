"""Which way a float32 product goes on this processor: a training step by MKL and by oneDNN, in turn.

`python -m tests.benchmarks.float32_products tiny b16`. One thread and its processor time, as `training_step`
measures; the fastest step of all rounds counts.
"""

from __future__ import annotations

import sys
from multiprocessing import get_context
from unittest import mock

import torch
from rich.console import Console
from rich.table import Table

from model import linear
from tests.benchmarks.training_step import ROUNDS, measure
from training.run.memory import peak_gib


def by(library: str, size: str) -> tuple[float, float]:
    """Images/s of a float32 step whose layers take this library, and the most memory that it took in GiB."""
    with mock.patch.object(linear, "_is_intel", return_value=library == "MKL"):
        speed, _, _ = measure(size, False, True)
    return speed, peak_gib(torch.device("cpu"))


def main() -> None:
    """Measure and print."""
    table = Table("size", "MKL, images/s", "oneDNN, images/s", "MKL, GiB", "oneDNN, GiB")
    for size in sys.argv[1:] or ["tiny"]:
        found: dict[str, list[tuple[float, float]]] = {"MKL": [], "oneDNN": []}
        for _ in range(ROUNDS):
            for library, measured in found.items():
                with get_context("spawn").Pool(1) as pool:
                    measured.append(pool.apply(by, (library, size)))
        speeds = [f"{max(speed for speed, _ in measured):.2f}" for measured in found.values()]
        table.add_row(size, *speeds, *(f"{measured[0][1]:.1f}" for measured in found.values()))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()

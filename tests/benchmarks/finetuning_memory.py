"""The memory that fine-tuning a B/16 takes, with and without what saves some.

Weights are random, in the published layout and of full size. Each figure is of two steps of
`stellar-train finetune` in a process of its own: the most that it had resident, the VQGAN
and PyTorch included.
Run with `python -m tests.benchmarks.finetuning_memory`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from model import PRESETS, Stellar, save_checkpoint
from tests.service.photos import photo

BATCH_SIZE = 4
KEPT, FROZEN = "training.activation_checkpointing=false", "training.frozen_layers=6"
ROWS = {
    "all activations kept": (KEPT,),
    "recomputed (the recipe)": (),
    "all kept, six layers frozen": (KEPT, FROZEN),
    "recomputed, six layers frozen": (FROZEN,),
}


def _peak_gib(folder: Path, settings: tuple[str, ...]) -> float:
    """Of a run of two steps."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        command = ["-m", "training.cli", "finetune", "--from", str(folder / "b16.safetensors"), "--out", out]
        command += ["--pictures", str(folder / "photos"), "--steps", "2", "--batch-size", str(BATCH_SIZE)]
        for setting in (*settings, "training.held_out_share=0", "training.workers=1"):
            command += ["--set", setting]
        process = os.posix_spawn(sys.executable, [sys.executable, *command], os.environ)
        _, status, usage = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} failed")
    return usage.ru_maxrss / 2**20


def main() -> None:
    """Print the table."""
    table = Table(f"B/16, {BATCH_SIZE} pictures in a step, 8 masked views, 8 local crops, bf16", "GiB")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        torch.manual_seed(0)
        save_checkpoint(Stellar(PRESETS["b16"]), folder / "b16.safetensors")
        (folder / "photos").mkdir()
        for name in ("astronaut", "chelsea", "coffee", "rocket"):
            (folder / "photos" / f"{name}.jpg").write_bytes(photo(name))
        for row, settings in ROWS.items():
            table.add_row(row, f"{_peak_gib(folder, settings):.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()

"""Freed memory, as the system counts it."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import ctypes
from pathlib import Path
from training.run.memory import keep_freed_memory

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if {keep}:
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
size, before = 200_000_000, held()
block = libc.malloc(size)
ctypes.memset(block, 1, size)
assert held() - before > 0.9 * size
libc.free(block)
print((held() - before) / size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library's malloc")
@pytest.mark.parametrize("keep", [True, False])
def test_what_is_freed_stays_with_the_process_if_it_is_told_to_keep_it(keep: bool) -> None:
    command = [sys.executable, "-c", SCRIPT.format(keep=keep)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (float(done.stdout) > 0.9) == keep


PEAK = """
import torch
from pathlib import Path
from training.run.memory import peak_gib

block = b"1" * 2**29
held = int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**30
del block
print(held, peak_gib(torch.device("cpu")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_the_most_memory_at_a_time_is_told_though_it_was_freed_again() -> None:
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    held, peak = map(float, done.stdout.split())
    assert peak == pytest.approx(held, abs=0.02)

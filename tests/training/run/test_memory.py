"""Freed memory, as the system counts it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library's malloc, and /proc")

SCRIPT = """
import ctypes, json
from pathlib import Path
import torch
from training.run.memory import keep_freed_memory, peak_gib

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def freed(size):
    "What is held of a block when it is there and when it was freed, beside the whole process then."
    before = held()
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    whole = held()
    libc.free(block)
    return (whole - before) / size, (held() - before) / size, whole / 2**30

told = {"given back": freed(400_000_000), "peak": peak_gib(torch.device("cpu"))}
keep_freed_memory()
print(json.dumps(told | {"kept": freed(200_000_000)}))
"""


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """Of a process of its own: what it does holds for all of one."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def test_what_is_freed_stays_with_the_process_if_it_is_told_to_keep_it(told: dict[str, Any]) -> None:
    for case, keeps in (("given back", False), ("kept", True)):
        there, freed, _ = told[case]
        assert there > 0.9
        assert (freed > 0.9) == keeps


def test_the_most_memory_at_a_time_is_told_though_it_was_freed_again(told: dict[str, Any]) -> None:
    assert told["peak"] == pytest.approx(told["given back"][2], abs=0.02)

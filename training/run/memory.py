"""Memory: what one step frees on a CPU, the next one takes again; and the most that a process has had."""

from __future__ import annotations

import ctypes
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

# Parameters of mallopt(3), as <malloc.h> of the GNU C library numbers them.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1
EXHAUSTED = ("DefaultCPUAllocator", "size calculation overflowed")
"""What PyTorch says on a CPU where there is no memory for a tensor, or where no machine could have it."""


def keep_freed_memory() -> None:
    """Have malloc keep what is freed; elsewhere than on Linux with the GNU C library nothing changes.

    A step's tensors are large, and malloc takes large blocks from the system and gives them back each time:
    then every page of every tensor is made and zeroed anew, a tenth of a step's time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)


@contextmanager
def enough_memory(told: str) -> Iterator[None]:
    """Raise `ValueError` with what is told where there is no more memory within, on a GPU or elsewhere."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        exhausted = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not exhausted and not any(words in str(error) for words in EXHAUSTED):
            raise
        raise ValueError(told) from error


def peak_gib(device: torch.device) -> float:
    """The most memory that this process has had at a time: its tensors' on a GPU, elsewhere all."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    if sys.platform == "linux":  # getrusage(2) begins there with what the process had that started this one
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(status["VmHWM"].split()[0]) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, and else KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30

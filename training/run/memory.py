"""The C library's memory on a CPU: what one step frees, the next one takes again."""

from __future__ import annotations

import ctypes
import sys

# Parameters of mallopt(3), as <malloc.h> of the GNU C library numbers them.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Have malloc keep what is freed; elsewhere than on Linux with the GNU C library nothing changes.

    A step's tensors are large, and malloc takes large blocks from the system and gives them back each time:
    then every page of every tensor is made and zeroed anew, a tenth of a step's time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)

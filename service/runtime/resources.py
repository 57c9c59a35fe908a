"""What a process may use of its machine: its affinity's, its container's, or all of it."""

from __future__ import annotations

import os
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60
"""Version 1 of control groups writes a number beyond this where there is no limit."""


def available_processors() -> int:
    """Processors that this process may use: its affinity, and its control group's quota."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = (CONTROL_GROUPS / "cpu.max").read_text().split()
        return max(1, min(allowed, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no control groups, or no quota ("max")
        return allowed


def available_memory() -> int:
    """Bytes of memory that this process may use: its control group's limit, or the machine's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in (CONTROL_GROUPS / "memory.max", CONTROL_GROUPS / "memory/memory.limit_in_bytes"):
        try:
            allowed = int(limit.read_text())
        except (OSError, ValueError):  # not this version of control groups, or no limit ("max")
            continue
        return min(machine, allowed if allowed < UNLIMITED else machine)
    return machine

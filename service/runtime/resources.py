"""What a process may use of its machine: its affinity's, its container's, or all of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
    """Bytes of memory that this process may use: the least limit of its control groups, or the machine's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(limit for folder in _memory_groups() if (limit := _limit(folder)) is not None)])


def _memory_groups() -> Iterator[Path]:
    """The folders of the control groups that this process is in, as far as they can be seen from here."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in ["0::/", *lines]:
        _, controllers, path = line.split(":", 2)
        if not controllers or "memory" in controllers.split(","):
            root = CONTROL_GROUPS / "memory" if controllers else CONTROL_GROUPS
            for part in (Path(path), *Path(path).parents):
                yield root / part.relative_to("/")
    yield CONTROL_GROUPS / "memory"


def _limit(folder: Path) -> int | None:
    """A control group's limit of memory, in either version of them; None where it has none."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            limit = int((folder / name).read_text())
        except (OSError, ValueError):  # not this version, or no limit ("max")
            continue
        return limit if limit < UNLIMITED else None
    return None

"""A server's processes, wherever they moved to: all that inherited a mark in their environment.

What they cost is read from /proc (Linux).
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

MARK = "SERVING_BENCHMARK"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STOP_S = 20.0
WATCH_EVERY_S = 1.0


class Processes:
    """A command and all processes that come of it; none is left when the block ends."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        folder: Path | None = None,
        piped: bool = False,
    ) -> None:
        """Run it in `folder`, or here.

        What it writes goes to `log`, but its standard output through a pipe where that is wanted.
        """
        mark = uuid.uuid4().hex
        self._mark = f"{MARK}={mark}".encode()
        with log.open("ab") as written:
            self.root = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment, MARK: mark},
                stdout=subprocess.PIPE if piped else written,
                stderr=written,
                text=True,
            )

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.root.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.root.wait(STOP_S)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            end = time.monotonic() + STOP_S / 4
            while self.pids() and time.monotonic() < end:
                time.sleep(0.05)
        self.root.wait()
        if self.root.stdout is not None:
            self.root.stdout.close()

    def pids(self) -> list[int]:
        """Those that are alive."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended, or is another user's
                if self._mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found

    def cpu_s(self) -> dict[str, float]:
        """User and system time up to now, by what a process is."""
        spent: dict[str, float] = defaultdict(float)
        for pid in self.pids():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks = int(fields[11]) + int(fields[12])  # utime and stime: proc(5) counts from the name
                spent[_part(pid)] += ticks / TICKS_PER_S
        return spent

    def memory_mb(self) -> float:
        """Proportional set size now: what is shared counts once."""
        kilobytes = 0
        for pid in self.pids():
            with suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        kilobytes += int(line.split()[1])
        return kilobytes / 1024


def _part(pid: int) -> str:
    """What a process is. Raises `OSError` where it ended."""
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    if words[0].startswith("redis-server"):
        return "redis"
    if "engine" in words:
        return "engine"
    if "worker" in words:
        return "worker"
    return "api" if any(word == "serve" or word.startswith("api-") for word in words) else "other"


class MemoryWatch:
    """Looks at the memory of processes every second, from a thread."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.peak_mb = 0.0

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak_mb = max(self.peak_mb, self._processes.memory_mb())
            if self._over.wait(WATCH_EVERY_S):
                return

"""A server as it is shipped, and what an attack does to it: memory, stops of its loop, others' answers."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from tests.service.fleet.cluster import free_port
from tests.service.photos import photo
from tests.service.server import Server, running

CONTAINER_BYTES = 2**30
"""The chart's limit of memory, the smaller of the two that are shipped."""
ATTACKER, NEIGHBOUR = "attacker-key", "neighbour-key"
NEIGHBOUR_EVERY_S = 0.05
DIFFERENCE = 1e-4


@dataclass
class Harm:
    """What happened to the process and to its other clients while something was going on."""

    rest_bytes: int = 0
    """Memory before."""
    peak_bytes: int = 0
    probes: int = 0
    longest_probe_s: float = 0.0
    """Longest time that `/healthz/live` took."""
    longest_stop_s: float = 0.0
    """The same without what the event loop's thread waited for a processor."""
    right: int = 0
    """A neighbour's pictures that were answered with the right vector."""
    wrong: list[str] = field(default_factory=list)
    """What else it was answered."""
    slowest_s: float = 0.0

    @property
    def answered(self) -> int:
        """How often the neighbour had an answer of any kind."""
        return self.right + len(self.wrong)

    @property
    def extra_bytes(self) -> int:
        """Memory above that before."""
        return max(0, self.peak_bytes - self.rest_bytes)


class Victim:
    """The server, with two clients that have a key each."""

    def __init__(self, server: Server, port: int, probe: subprocess.Popen[str]) -> None:
        self.server = server
        self.grpc = f"127.0.0.1:{port}"
        """Where gRPC is."""
        self._probe = probe
        self._status = Path(f"/proc/{server.process.pid}/status")
        self._photo = photo("astronaut")
        with self.client(NEIGHBOUR) as client:
            self._vector = self._embed(client)

    def client(self, key: str) -> httpx.Client:
        """One with a key; it waits as long as a request may take."""
        return httpx.Client(base_url=self.server.url, timeout=120, headers={"authorization": f"Bearer {key}"})

    def suffer(self, attack: Callable[[Victim], Counter[str]]) -> tuple[Harm, Counter[str]]:
        """What comes of an attack, which returns when it is over; and what it was answered."""
        Path(f"/proc/{self.server.process.pid}/clear_refs").write_text("5")  # the peak is what is held now
        harm = Harm(rest_bytes=self._memory("VmRSS"))
        over = threading.Event()
        user = threading.Thread(target=self._use, args=(harm, over))
        with self._probing(harm):
            user.start()
            try:
                answers = attack(self)
            finally:
                over.set()
                user.join()
        harm.peak_bytes = self._memory("VmHWM")
        return harm, answers

    @contextmanager
    def _probing(self, harm: Harm) -> Iterator[None]:
        """Note the longest stop of the event loop meanwhile."""
        asked, told = self._probe.stdin, self._probe.stdout
        assert asked is not None
        assert told is not None
        asked.write("\n")
        assert told.readline() == "begun\n"
        yield
        asked.write("\n")
        harm.probes, harm.longest_probe_s, harm.longest_stop_s = json.loads(told.readline())

    def _use(self, harm: Harm, over: threading.Event) -> None:
        with self.client(NEIGHBOUR) as client:
            while not (over.is_set() and harm.answered):
                started = time.monotonic()
                try:
                    vector = self._embed(client)
                except httpx.HTTPError as error:
                    harm.wrong.append(repr(error))
                else:
                    if np.abs(vector - self._vector).max() < DIFFERENCE:
                        harm.right += 1
                    else:
                        harm.wrong.append("another vector")
                harm.slowest_s = max(harm.slowest_s, time.monotonic() - started)
                time.sleep(NEIGHBOUR_EVERY_S)

    def _embed(self, client: httpx.Client) -> np.ndarray:
        answer = client.post("/embed", files={"image": self._photo}).raise_for_status()
        return np.asarray(answer.json()["data"][0]["embedding"], np.float32)

    def _memory(self, name: str) -> int:
        """A line of the process's status, in bytes."""
        [line] = [line for line in self._status.read_text().splitlines() if line.startswith(name + ":")]
        return 1024 * int(line.split()[1])


@contextmanager
def victim(folder: Path, memory_bytes: int = CONTAINER_BYTES) -> Iterator[Victim]:
    """One that thinks its container has so much memory, and logs into a folder."""
    settings = {
        "STELLAR_API_KEYS": f"{ATTACKER},{NEIGHBOUR}",
        "STELLAR_DECODE_MEMORY": str(memory_bytes // 2),
        "STELLAR_BODY_MEMORY": str(memory_bytes // 4),
        "STELLAR_THREADS": "2",
        "STELLAR_GRPC_PORT": str(port := free_port()),
    }
    with running(folder / "server.log", settings) as server:
        command = [sys.executable, "-m", "tests.limits.probe", "127.0.0.1"]
        command += [str(server.port), str(server.process.pid)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as probe:
            yield Victim(server, port, probe)

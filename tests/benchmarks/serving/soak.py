"""Whether memory stays flat: requests of all kinds for as long as it takes, memory looked at all the while.

`make soak`. It prints a line and draws `soak.png`; the exit code is 1 where memory grew.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, NamedTuple

import httpx
import matplotlib

matplotlib.use("Agg")
import typer
from matplotlib import pyplot

from service.settings import BUNDLED_MODELS
from tests.benchmarks.serving.bundles import TINY
from tests.benchmarks.serving.contenders import CONTENDERS, Place
from tests.benchmarks.serving.pictures import write_picture
from tests.benchmarks.serving.processes import Processes
from tests.benchmarks.serving.readiness import wait_for_answer
from tests.service.fleet.cluster import free_port

CLIENTS = 16
LOOKS = 200
WARM_SHARE = 0.1
"""Before this share of the requests, arenas and caches may still grow."""
MOST_GROWTH = 0.02
"""Of the memory after the warm-up, up to the end."""


class Kind(NamedTuple):
    """One sort of request, how many pictures it has, and its part of all requests."""

    path: str
    megapixels: float
    pictures: int
    weight: int
    broken: bool = False


KINDS = (
    Kind("/embed", 0.1, 1, 60),
    Kind("/embed", 0.1, 5, 5),
    Kind("/embed", 2, 1, 3),
    Kind("/tokens", 0.1, 1, 20),
    Kind("/tokens?heatmaps=true", 0.1, 1, 2),
    Kind("/reconstruct", 0.1, 1, 9),
    Kind("/embed", 0.1, 1, 1, broken=True),
)


class Soak:
    """The requests that are left, and what became of those that were sent."""

    def __init__(self, url: str, pictures: Path, requests: int) -> None:
        self._url = url
        self._left = requests
        self._draw = random.Random(0)
        self._bytes = {kind: write_picture(pictures, kind.megapixels).read_bytes() for kind in KINDS}
        self.done = 0
        self.statuses: Counter[int] = Counter()

    async def run(self) -> None:
        """Send them all, from clients who wait for their answers."""
        async with httpx.AsyncClient(base_url=self._url, timeout=120) as client:
            await asyncio.gather(*(self._client(client) for _ in range(CLIENTS)))

    async def _client(self, client: httpx.AsyncClient) -> None:
        while self._left > 0:
            self._left -= 1
            [kind] = self._draw.choices(KINDS, [kind.weight for kind in KINDS])
            jpeg = self._bytes[kind]
            if kind.broken:
                jpeg = jpeg[: len(jpeg) // 2]
            answer = await client.post(kind.path, files=[("image", jpeg)] * kind.pictures)
            self.statuses[answer.status_code] += 1
            self.done += 1


async def _watched(soak: Soak, processes: Processes, requests: int) -> list[tuple[int, float]]:
    """Requests done and MB at that moment, over and over until the end."""
    seen: list[tuple[int, float]] = []
    work = asyncio.create_task(soak.run())
    while not work.done():
        if soak.done >= len(seen) * requests / LOOKS:
            seen.append((soak.done, await asyncio.to_thread(processes.memory_mb)))
        await asyncio.wait([work], timeout=0.1)
    await work
    return [*seen, (soak.done, processes.memory_mb())]


def _draw(seen: list[tuple[int, float]], out: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(8, 3), layout="constrained")
    axes.plot([done for done, _ in seen], [mb for _, mb in seen])
    axes.set(xlabel="requests", ylabel="memory, MB", ylim=(0, None))
    figure.savefig(out, dpi=110)


def main(
    requests: int = 200_000,
    out: Annotated[Path, typer.Option(help="Folder of the plot.")] = Path("work/benchmark"),
    server: Annotated[str, typer.Option(help="ours or ours-redis.")] = "ours",
) -> None:
    """Soak the service."""
    out.mkdir(parents=True, exist_ok=True)
    place = Place(BUNDLED_MODELS / TINY, "cpu", free_port())
    contender = CONTENDERS[server]
    environment = os.environ | contender.environment(place)
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "log"
        with Processes(contender.command(place), environment, log) as processes:
            picture = write_picture(out / "pictures", 0.1).read_bytes()
            wait_for_answer(processes, contender.path, place.port, picture)
            soak = Soak(f"http://127.0.0.1:{place.port}", out / "pictures", requests)
            started = time.perf_counter()
            seen = asyncio.run(_watched(soak, processes, requests))
            passed_s = time.perf_counter() - started
    _draw(seen, out / f"soak-{server}.png")
    warm = [mb for done, mb in seen if done >= WARM_SHARE * requests]
    growth = max(warm[-len(warm) // 10 :]) / max(warm[: len(warm) // 10 + 1]) - 1
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(soak.statuses.items()))
    print(
        f"{server}: {soak.done} requests in {passed_s:.0f} s ({statuses}); {seen[0][1]:.0f} MB at first, "
        f"{warm[0]:.0f} MB when warm, {seen[-1][1]:.0f} MB at the end: {100 * growth:+.1f} % since warm"
    )
    raise typer.Exit(growth > MOST_GROWTH)


if __name__ == "__main__":
    typer.run(main)

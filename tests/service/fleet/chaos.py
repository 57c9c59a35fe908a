"""Two API processes and three workers under load, while workers are killed at random: `make chaos`."""

from __future__ import annotations

import asyncio
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.service.fleet.cluster import Cluster, cluster_of, wait_until
from tests.service.fleet.load import GONE, RIGHT, WRONG, Tally, load, load_while
from tests.service.toy import write_toy

KILLS = 30
PAUSE_S = 1.0, 4.0
"""Least and most between a worker's start and the next one's death."""
CONCURRENCY = 16
NUM_WORKERS = 3


@dataclass(frozen=True)
class Outcome:
    """What became of it all."""

    tally: Tally
    kills: int
    redelivered: int
    memory_before: int
    memory_after: int
    entries_after: int

    @property
    def refused(self) -> dict[str, int]:
        """Clear errors, by status and code."""
        return {name: n for name, n in self.tally.outcomes.items() if name not in {RIGHT, WRONG, GONE}}


async def _kill_at_random(cluster: Cluster, kills: int, seed: int, pause_s: tuple[float, float]) -> None:
    rng = random.Random(seed)
    for _ in range(kills):
        await asyncio.sleep(rng.uniform(*pause_s))
        victim = rng.choice([worker for worker in cluster.workers if worker.process.poll() is None])
        victim.kill()
        await asyncio.to_thread(cluster.worker)


def run_chaos(
    folder: Path,
    kills: int = KILLS,
    seed: int = 0,
    pause_s: tuple[float, float] = PAUSE_S,
    rest_s: float = 0.0,
) -> Outcome:
    """Run it below a folder."""
    write_toy(folder / "models" / "toy")
    with cluster_of(folder, folder / "models") as cluster:
        for _ in range(NUM_WORKERS):
            cluster.worker()
        servers = [cluster.ready(), cluster.ready()]
        urls = [server.url for server in servers]
        asyncio.run(load(urls, 1.0, CONCURRENCY, rest_s))  # what is allocated once is allocated now
        wait_until(lambda: not cluster.entries())
        memory_before = cluster.redis.memory()

        async def main() -> Tally:
            killing = asyncio.create_task(_kill_at_random(cluster, kills, seed, pause_s))
            tally = await load_while(lambda: not killing.done(), urls, CONCURRENCY, rest_s)
            await killing
            return tally

        tally = asyncio.run(main())
        wait_until(lambda: not cluster.entries())
        wait_until(lambda: cluster.consumers() <= NUM_WORKERS * len(cluster.streams()))
        redelivered = sum(worker.log.count('"event": "claimed"') for worker in cluster.workers)
        return Outcome(tally, kills, redelivered, memory_before, cluster.redis.memory(), cluster.entries())


def show(outcome: Outcome) -> None:
    table = Table("", "", show_header=False)
    latencies = sorted(outcome.tally.latencies_s)
    p50, p99, longest = (
        round(1000 * latencies[min(len(latencies) - 1, int(q * len(latencies)))]) for q in (0.5, 0.99, 1)
    )
    memory = f"{outcome.memory_before / 1e3:.1f} / {outcome.memory_after / 1e3:.1f}"
    for name, value in (
        ("requests", outcome.tally.sent),
        ("workers killed", outcome.kills),
        ("right answers", outcome.tally.outcomes[RIGHT]),
        ("clear errors", sum(outcome.refused.values())),
        ("wrong answers", outcome.tally.outcomes[WRONG]),
        ("lost", outcome.tally.outcomes[GONE]),
        ("takeovers from dead workers", outcome.redelivered),
        ("p50 / p99 / longest, ms", f"{p50} / {p99} / {longest}"),
        ("all keys in Redis before / after, KB", memory),
        ("entries left", outcome.entries_after),
    ):
        table.add_row(name, str(value))
    console = Console()
    console.print(table)
    for name, count in outcome.refused.items():
        console.print(f"  {name}: {count}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        show(run_chaos(Path(folder)))

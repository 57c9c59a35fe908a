"""Redis batching against local batching, one machine, one worker, the same bundle: `make benchmark`.

Closed loops post a JPEG of 451×300 pixels to /embed. Rounds are interleaved; figures are medians over rounds.
Shares are of an item's time between the end of its decoding and its result: waiting, transport to the worker
and back (copying, Redis, event loops), inference.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from service.settings import BUNDLED_MODELS
from tests.service.fleet.cluster import Cluster, cluster_of
from tests.service.photos import photo
from tests.service.server import Server, running

ROUNDS = 3
ROUND_S = 6.0
CONCURRENCIES = (1, 8, 64)
STAGES = ("queue", "transport", "inference")


async def _load(url: str, image: bytes, concurrency: int) -> list[float]:
    """Latencies of a round, in seconds."""
    latencies: list[float] = []
    end = time.monotonic() + ROUND_S

    async def loop(client: httpx.AsyncClient) -> None:
        while time.monotonic() < end:
            started = time.monotonic()
            answer = await client.post(url, content=image, headers={"content-type": "image/jpeg"})
            answer.raise_for_status()
            latencies.append(time.monotonic() - started)

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        await asyncio.gather(*(loop(client) for _ in range(concurrency)))
    return latencies


def _stage_seconds(urls: list[str]) -> dict[str, float]:
    """Total time of each stage over the processes that measure it."""
    total = dict.fromkeys(STAGES, 0.0)
    for url in urls:
        for line in httpx.get(f"{url}/metrics").text.splitlines():
            for stage in STAGES:
                if line.startswith(f'stellar_stage_duration_seconds_sum{{stage="{stage}"}}'):
                    total[stage] += float(line.rpartition(" ")[2])
    return total


def _compare(local: Server, far: Server, cluster: Cluster, image: bytes) -> Table:
    table = Table(
        "concurrency", "batcher", "images/s", "of local", "p50 ms", "p99 ms", *(f"{s} %" for s in STAGES)
    )
    services = {
        "local": (local.url, [local.url]),
        "redis": (far.url, [far.url, *(f"http://127.0.0.1:{w.port}" for w in cluster.workers)]),
    }
    for concurrency in CONCURRENCIES:
        rounds: dict[str, list[list[float]]] = {name: [] for name in services}
        spent = {name: dict.fromkeys(STAGES, 0.0) for name in services}
        for _ in range(ROUNDS):
            for name, (url, measured) in services.items():
                before = _stage_seconds(measured)
                rounds[name].append(asyncio.run(_load(f"{url}/embed", image, concurrency)))
                after = _stage_seconds(measured)
                for stage in STAGES:
                    spent[name][stage] += after[stage] - before[stage]
        rates = {name: statistics.median(len(r) / ROUND_S for r in each) for name, each in rounds.items()}
        for name, each in rounds.items():
            p50 = statistics.median(statistics.median(r) for r in each)
            p99 = statistics.median(sorted(r)[int(0.99 * len(r))] for r in each)
            whole = sum(spent[name].values()) or 1.0
            table.add_row(
                str(concurrency),
                name,
                f"{rates[name]:.0f}",
                f"{rates[name] / rates['local']:.2f}",
                f"{1000 * p50:.1f}",
                f"{1000 * p99:.1f}",
                *(f"{100 * spent[name][stage] / whole:.0f}" for stage in STAGES),
            )
    return table


def main() -> None:
    """Start both, compare, print."""
    image = photo("chelsea")
    with tempfile.TemporaryDirectory() as name, cluster_of(Path(name), BUNDLED_MODELS) as cluster:
        cluster.worker()
        far = cluster.ready()
        with running(Path(name) / "local.log", {}) as local:
            for server in (local, far):
                asyncio.run(_load(f"{server.url}/embed", image, 8))  # warm
            Console(width=120).print(_compare(local, far, cluster, image))


if __name__ == "__main__":
    main()

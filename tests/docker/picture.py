"""Draws the docs' pictures of the dashboards: `make dashboard-pictures`, five minutes.

A service with two workers, Redis and the shipped Prometheus, under load that swells and ebbs. Some of what
clients send is no picture, two crowds are too large for the queue, and a worker is killed and replaced.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import sys
import tempfile
import time
from functools import cache
from itertools import takewhile
from pathlib import Path

import httpx
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from service.settings import BUNDLED_MODELS
from tests.docker.plot import plot
from tests.docker.watch import Prometheus, watching
from tests.service.fleet.cluster import Cluster, cluster_of
from tests.service.photos import encoded

DASHBOARDS = Path(__file__).parents[2] / "docker" / "grafana" / "dashboards"
NOT_HERE = "GPUs"
"""The fleet's last row."""
STEPS, STEP_S, RATES_OVER = 121, 2, "15s"

CLIENTS = {0: 1, 20: 3, 60: 8, 105: 48, 120: 8, 160: 48, 172: 6, 210: 1}
"""From which second on how many clients ask, each one thing after the other."""
PAUSE_S = 0.4
"""What a client rests on average before it asks again."""
KILLED_S, REPLACED_S = 165, 190
ROUTES = {"/embed": 6, "/tokens": 2, "/reconstruct": 2}
MISTAKEN, KNOWN = 0.04, 0.25
"""Shares of the pictures that are none, and of those that are sent again and again."""
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")


def main(folder: Path) -> None:
    """Write watch-service.webp and watch-fleet.webp."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"cache_ttl_s": "60", "max_queue": "64"}
    with (
        tempfile.TemporaryDirectory() as scratch,
        cluster_of(Path(scratch), BUNDLED_MODELS, "--maxmemory", "100mb", **settings) as cluster,
    ):
        cluster.worker()
        cluster.worker()
        cluster.ready()
        with watching(Path(scratch), cluster) as prometheus:
            start = time.time()
            asyncio.run(_happen(cluster))
            for name in ("service", "fleet"):
                drawn = _draw(name, prometheus, start)
                drawn.save(folder / f"watch-{name}.webp", quality=85, method=6)


def _draw(name: str, prometheus: Prometheus, start: float) -> Image.Image:
    board = json.loads((DASHBOARDS / f"{name}.json").read_text())
    figure = plot(
        board["title"],
        takewhile(lambda panel: panel["title"] != NOT_HERE, board["panels"]),
        lambda expression: prometheus.lines(
            expression.replace("$__rate_interval", RATES_OVER), start, STEPS, STEP_S
        ),
        [step * STEP_S / 60 for step in range(STEPS)],
        "data of Prometheus, plot of our own",
    )
    data = io.BytesIO()
    figure.savefig(data)
    return Image.open(data).convert("RGB")


async def _happen(cluster: Cluster) -> None:
    """All that the pictures show."""
    start = time.monotonic()

    async def ask(number: int) -> None:
        rng = random.Random(number)
        while (second := time.monotonic() - start) < STEPS * STEP_S:
            if number >= [clients for since, clients in CLIENTS.items() if since <= second][-1]:
                await asyncio.sleep(0.1)
                continue
            [route] = rng.choices(list(ROUTES), list(ROUTES.values()))
            files = [("image", _sent(rng)) for _ in range(rng.choice((1, 1, 1, 4)))]
            answer = await client.post(route, files=files)
            await asyncio.sleep(float(answer.headers.get("retry-after", rng.expovariate(1 / PAUSE_S))))

    async def lose_a_worker() -> None:
        await asyncio.sleep(KILLED_S)
        lost = await asyncio.to_thread(cluster.held)
        lost.kill()
        await asyncio.sleep(REPLACED_S - KILLED_S)
        await asyncio.to_thread(cluster.worker, "--metrics-port", str(lost.port))

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=cluster.apis[0].url, timeout=60, limits=limits) as client:
        await asyncio.gather(*map(ask, range(max(CLIENTS.values()))), lose_a_worker())


def _sent(rng: random.Random) -> bytes:
    """A piece of a photo; now and then no picture at all."""
    if rng.random() < MISTAKEN:
        return b"no picture"
    if rng.random() < KNOWN:
        rng = random.Random(rng.randrange(8))
    photo = _pixels(rng.choice(PHOTOS))
    side = rng.randrange(100, 250)
    top, left = (rng.randrange(length - side) for length in photo.shape[:2])
    return encoded(Image.fromarray(photo[top : top + side, left : left + side]), "JPEG")


@cache
def _pixels(name: str) -> NDArray[np.uint8]:
    photo: NDArray[np.uint8] = getattr(skimage.data, name)()
    return photo


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Load whose every answer can be checked: the toy model says an image's colour, and each has its own."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
from PIL import Image

from tests.service.photos import encoded

RIGHT, WRONG, GONE = "right", "wrong", "connection lost"


def colour_of(number: int) -> tuple[int, int, int]:
    """A colour for each number up to 65,535; its darkest channel is 0, which the toy model runs at once."""
    return number % 256, number // 256 % 256, 0


def picture(colour: tuple[int, int, int]) -> bytes:
    return encoded(Image.new("RGB", (8, 8), colour))


def is_right(answer: httpx.Response, colour: tuple[int, int, int]) -> bool:
    """Whether tokens say this colour, as the model computes it in float32."""
    semantics = answer.json()["data"][0]["semantics"]
    return all(
        abs(value - channel / 255) < 1e-6
        for token, channel in zip(semantics, colour, strict=True)
        for value in token
    )


@dataclass
class Tally:
    """What became of requests."""

    outcomes: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)

    @property
    def sent(self) -> int:
        return self.outcomes.total()


async def ask(client: httpx.AsyncClient, url: str, number: int, tally: Tally) -> None:
    """One request, and what became of it."""
    colour = colour_of(number)
    started = time.monotonic()
    try:
        answer = await client.post(f"{url}/tokens", files={"image": picture(colour)})
    except httpx.TransportError:
        tally.outcomes[GONE] += 1
        return
    tally.latencies_s.append(time.monotonic() - started)
    if answer.status_code == 200:
        tally.outcomes[RIGHT if is_right(answer, colour) else WRONG] += 1
    else:
        tally.outcomes[f"{answer.status_code} {answer.json()['code']}"] += 1


async def load(urls: list[str], duration_s: float, concurrency: int, rest_s: float = 0.0) -> Tally:
    """Closed loops that ask in turn for a while, and rest after each answer."""
    end = time.monotonic() + duration_s
    return await load_while(lambda: time.monotonic() < end, urls, concurrency, rest_s)


async def load_while(
    going_on: Callable[[], bool], urls: list[str], concurrency: int, rest_s: float = 0.0
) -> Tally:
    """The same, as long as something goes on."""
    tally, numbers = Tally(), itertools.count()

    async def loop(url: str, client: httpx.AsyncClient) -> None:
        while going_on():
            await ask(client, url, next(numbers) % 65536, tally)
            await asyncio.sleep(rest_s)

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        await asyncio.gather(*(loop(urls[i % len(urls)], client) for i in range(concurrency)))
    return tally

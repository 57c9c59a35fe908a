"""A request's work: images in, tokens and pictures out, within a deadline, each part timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

from starlette.responses import Response

from service.batching.budget import Budget
from service.batching.lanes import Lane
from service.errors import QueueFull, ServiceError
from service.http.items import Item
from service.models.served import ServedModel
from service.tokens.box import WHOLE, Box
from service.tokens.choices import Fit, Pooling
from service.tokens.pictures import DecodedImage, Pictures
from service.tokens.pooling import normalized
from service.tokens.types import Floats, Pixels, Tokens
from service.watch.metrics import Metrics

S = TypeVar("S")
T = TypeVar("T")

AGAIN_AFTER_S = 0.05
"""After this time an item that found the queue full asks again."""


class Seen(NamedTuple):
    """An image as sent, and as the model sees it."""

    image: DecodedImage
    tokens: Tokens


@dataclass(kw_only=True)
class Work:
    """What a request needs on its way: model, deadline, its place in the queue."""

    model: ServedModel
    pictures: Pictures
    budget: Budget
    metrics: Metrics
    client: str
    deadline: float
    fit: Fit
    box: Box = WHOLE
    at_once: int
    """How many of its images may be at work at the same time, however many it has."""
    lane: Lane = "small"
    pooling: Pooling | None = None
    """Which vectors are answered, if any: told beside the model that made them."""
    timings_s: dict[str, float] = field(default_factory=dict)
    """How long each part of the way took; of several images, the longest."""

    @contextmanager
    def admitted(self, count: int) -> Iterator[None]:
        """Keep places for `count` images, or for as many as are at work at once. Raises `Unavailable`."""
        with self.model.admit(self.client, count, at_once=self.at_once) as self.lane:
            yield

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Note how long a part takes."""
        started = time.monotonic()
        yield
        self._note(part, time.monotonic() - started)

    def _note(self, part: str, duration_s: float) -> None:
        self.timings_s[part] = max(self.timings_s.get(part, 0.0), duration_s)

    async def see(self, item: Item, *, concepts: bool = False) -> Seen:
        """Decode and encode one image. Raises `ServiceError`."""
        return Seen(*await self._look(item, partial(self.model.encode, concepts=concepts)))

    def choose(self, pooling: Pooling | None) -> Pooling:
        """Which vectors `embed` gives; None leaves it to the model. Raises `BadOption`."""
        self.pooling = self.model.pooling(pooling)
        return self.pooling

    async def embed(self, item: Item, *, normalize: bool) -> Floats:
        """The vector or vectors of one image that were chosen. Raises `ServiceError`."""
        assert self.pooling is not None
        _, vectors = await self._look(item, partial(self.model.embed, pooling=self.pooling))
        return normalized(vectors) if normalize else vectors

    async def _look(self, item: Item, run: Callable[..., Awaitable[T]]) -> tuple[DecodedImage, T]:
        """An image as the model sees it, and what `run` makes of it."""
        if isinstance(item, ServiceError):
            raise item
        started = time.monotonic()
        try:
            picture = self.pictures.picture(item, self.model.manifest.size, self.fit, self.box)
        except ServiceError:
            await asyncio.sleep(0)  # others have their turn between many that are refused
            raise
        weight = self.budget.weight(picture)
        with self.model.weigh(self.client, weight, self.lane) as lane:
            ready = await self.budget.item(picture, self.client, self.deadline)
            result = await run(ready, deadline=self.deadline, lane=lane)
        self.metrics.stage("decode", picture.began, picture.ended, [self.metrics.trace()])
        decode_s = picture.ended - picture.began
        self._note("decode", decode_s)
        self._note("encode", time.monotonic() - started - decode_s)
        return picture.decoded, result

    async def encode(self, pixels: Pixels) -> Tokens:
        """The tokens of one image (H, W, 3) of the model's own size."""
        with self.timed("encode"):
            return await self.model.encode({"image": pixels}, deadline=self.deadline, lane=self.lane)

    async def see_all(self, items: Sequence[Item], *, concepts: bool = False) -> list[Seen | ServiceError]:
        """All images; each its own result or error. The error of a lone image is raised."""
        return await self.settle(partial(self.see, concepts=concepts), items)

    async def embed_all(self, items: Sequence[Item], *, normalize: bool) -> list[Floats | ServiceError]:
        """The same for their vectors."""
        return await self.settle(partial(self.embed, normalize=normalize), items)

    async def settle(self, do: Callable[[S], Awaitable[T]], items: Sequence[S]) -> list[T | ServiceError]:
        """What comes of every item, in order, errors in the place of results; a lone item's is raised."""
        if len(items) == 1:
            return [await do(items[0])]

        async def settled(item: S) -> T | ServiceError:
            try:
                return await do(item)
            except ServiceError as error:
                return error

        return await self._each(settled, items)

    async def all_of(self, do: Callable[[S], Awaitable[T]], items: Sequence[S]) -> list[T]:
        """What comes of every item, in order. The first error is raised and ends the others, save that an
        item waits where the queue has become full since this request was let in.
        """

        async def patient(numbered: tuple[int, S]) -> T:
            i, item = numbered
            while True:
                try:
                    return await do(item)
                except ServiceError as error:
                    full = isinstance(error, QueueFull) and len(items) > self.at_once
                    if full and time.monotonic() + AGAIN_AFTER_S < self.deadline:
                        await asyncio.sleep(AGAIN_AFTER_S)
                        continue
                    if len(items) > 1:
                        error.detail = f"image {i}: {error.detail}"
                    raise

        return await self._each(patient, list(enumerate(items)))

    async def _each(self, do: Callable[[S], Awaitable[T]], items: Sequence[S]) -> list[T]:
        """`do` for every item, in order, for `at_once` at the same time; what it raises ends the others."""
        results: dict[int, T] = {}
        left = iter(enumerate(items))

        async def work() -> None:
            for i, item in left:
                results[i] = await do(item)

        tasks = [asyncio.create_task(work()) for _ in range(min(self.at_once, len(items)))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return [results[i] for i in range(len(items))]

    async def draw(self, semantics: Floats, localization: Floats) -> Pixels:
        """The picture of one image's tokens."""
        with self.timed("draw"):
            return await self.model.decode(semantics, localization, deadline=self.deadline, lane=self.lane)

    def count_refused(self, results: Sequence[object]) -> None:
        """Count the errors that stand in an answer beside results."""
        for result in results:
            if isinstance(result, ServiceError):
                self.metrics.rejected.labels(result.code).inc()

    async def respond(self, write: Callable[[], Response], *, small: bool = False) -> Response:
        """Write the answer; say which content made it, and how long it took."""
        response = await self.written(write, small=small)
        response.raw_headers += [(name.encode(), value.encode()) for name, value in self.told()]
        return response

    async def written(self, write: Callable[[], T], *, small: bool = False) -> T:
        """The answer, written off the event loop, unless it is done before a thread would wake."""
        started = time.monotonic()
        with self.timed("respond"):
            answer = write() if small else await asyncio.to_thread(write)
        self.metrics.stage("respond", started, time.monotonic(), [self.metrics.trace()])
        return answer

    def told(self) -> list[tuple[str, str]]:
        """What is told beside an answer: which content made it, and how long it took."""
        manifest = self.model.manifest
        timings = ", ".join(f"{part};dur={1000 * time_s:.1f}" for part, time_s in self.timings_s.items())
        return [
            ("x-stellar-model", manifest.id),
            ("x-stellar-precision", manifest.precision),
            ("x-stellar-provider", self.model.provider),
            ("server-timing", timings),
            *([("x-stellar-pooling", self.pooling)] if self.pooling is not None else []),
        ]


def all_good(results: Sequence[T | ServiceError]) -> list[T]:
    """The results, where the form of the answer has no place for errors: the first one is raised."""
    good: list[T] = []
    for i, result in enumerate(results):
        if isinstance(result, ServiceError):
            result.detail = f"image {i}: {result.detail}"
            raise result
        good.append(result)
    return good

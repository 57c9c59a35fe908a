"""A request's work: images in, tokens and pictures out, within a deadline, each part timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from starlette.responses import Response

from service.batching.lanes import Lane
from service.errors import ServiceError
from service.http.requests import Item
from service.models.served import ServedModel
from service.tokens.pictures import DecodedImage, Fit, Pictures
from service.tokens.types import Floats, Pixels, Tokens
from service.watch.metrics import Metrics

T = TypeVar("T")


class Seen(NamedTuple):
    """An image as sent, and as the model sees it."""

    image: DecodedImage
    tokens: Tokens


@dataclass(kw_only=True)
class Work:
    """What a request needs on its way: model, deadline, its place in the queue."""

    model: ServedModel
    pictures: Pictures
    metrics: Metrics
    client: str
    deadline: float
    fit: Fit
    lane: Lane = "small"
    timings_s: dict[str, float] = field(default_factory=dict)
    """How long each part of the way took; of several images, the longest."""

    @contextmanager
    def admitted(self, count: int) -> Iterator[None]:
        """Keep places for `count` images. Raises `Unavailable`."""
        with self.model.admit(self.client, count) as self.lane:
            yield

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Note how long a part takes."""
        started = time.monotonic()
        yield
        self._note(part, time.monotonic() - started)

    def _note(self, part: str, duration_s: float) -> None:
        self.timings_s[part] = max(self.timings_s.get(part, 0.0), duration_s)

    async def see(self, item: Item) -> Seen:
        """Decode and encode one image. Raises `ServiceError`."""
        if isinstance(item, ServiceError):
            raise item
        started = time.monotonic()
        picture = self.pictures.picture(item, self.model.manifest.image_size, self.fit)
        tokens = await self.model.encode(picture.arrays, deadline=self.deadline, lane=self.lane)
        self.metrics.stage("decode", picture.began, picture.ended, [self.metrics.trace()])
        decode_s = picture.ended - picture.began
        self._note("decode", decode_s)
        self._note("encode", time.monotonic() - started - decode_s)
        return Seen(picture.decoded, tokens)

    async def encode(self, pixels: Pixels) -> Tokens:
        """The tokens of one image (H, W, 3) of the model's own size."""
        with self.timed("encode"):
            return await self.model.encode({"image": pixels}, deadline=self.deadline, lane=self.lane)

    async def see_all(self, items: Sequence[Item]) -> list[Seen | ServiceError]:
        """All images at once; each its own result or error. The error of a lone image is raised."""
        return await settle([self.see(item) for item in items])

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
        """Write the answer; say which content made it, and how long it took.

        It is written off the event loop, save for a small one, which is done before a thread would wake.
        """
        started = time.monotonic()
        with self.timed("respond"):
            response = write() if small else await asyncio.to_thread(write)
        self.metrics.stage("respond", started, time.monotonic(), [self.metrics.trace()])
        manifest = self.model.manifest
        timings = ", ".join(f"{part};dur={1000 * time_s:.1f}" for part, time_s in self.timings_s.items())
        response.raw_headers += (
            (b"x-stellar-model", manifest.id.encode()),
            (b"x-stellar-precision", manifest.precision.encode()),
            (b"x-stellar-provider", self.model.provider.encode()),
            (b"server-timing", timings.encode()),
        )
        return response


def all_good(results: Sequence[T | ServiceError]) -> list[T]:
    """The results, where the form of the answer has no place for errors: the first one is raised."""
    good: list[T] = []
    for i, result in enumerate(results):
        if isinstance(result, ServiceError):
            result.detail = f"image {i}: {result.detail}"
            raise result
        good.append(result)
    return good


async def settle(work: Sequence[Awaitable[T]]) -> list[T | ServiceError]:
    """Results in order, errors in the place of results; the error of a single piece of work is raised."""
    if len(work) == 1:
        return [await work[0]]
    results = await asyncio.gather(*work, return_exceptions=True)
    settled: list[T | ServiceError] = []
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, ServiceError):
            raise result
        settled.append(result)
    return settled

"""What does a job's shards: one engine that lives as long as the job, in a process of its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from service.bulk.destination import Destination
from service.bulk.part import Layout, Part
from service.bulk.record import Record
from service.bulk.rows import AT_ONCE, Reader, Row
from service.bulk.shards import Shard
from service.errors import ServiceError
from service.runtime.bundle import choose_bundle
from service.runtime.engine import Arrays, Engine
from service.settings import read_settings
from service.tokens.pictures import DecodedImage, decode_image
from service.watch.logs import configure_logs, logger


class Seen(NamedTuple):
    """A row's picture, or why there is none; and its tokens where it was encoded on the same thread."""

    id: str
    image: DecodedImage | ServiceError
    encoded: Arrays | None = None


class Worker:
    """Reads a shard, decodes and encodes its pictures, writes its part; each on threads of their own.

    What runs single pictures best decodes each where it encodes it.
    """

    def __init__(
        self, record: Record, source: str, root: str, destination: str, settings: dict[str, Any]
    ) -> None:
        """Load the model. Raises `BundleError` and `DeviceError`."""
        configure_logs("warning", "auto")
        self._settings = read_settings(**settings, api_keys=None, api_keys_file=None)
        bundle = choose_bundle(self._settings.models_dir, record.model)
        self._engine = Engine(bundle, self._settings, tell=lambda _: None)
        self._layout = Layout(bundle.manifest, pooling=record.pooling, fit=record.fit, tokens=record.tokens)
        self._fit = record.fit
        self._reader = Reader(
            source, root, record.kind, image_column=record.image_column, id_column=record.id_column
        )
        self._destination = Destination(destination)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="read")
        single = self._engine.single
        threads = self._engine.concurrency if single else self._settings.decode_threads
        self._seeing = ThreadPoolExecutor(threads, thread_name_prefix="see")

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do a shard; its number, its rows, those that failed, when it began and ended, what went wrong."""
        shard = Shard(
            number=int(row["number"]),
            names=[str(name) for name in row["names"]],
            part=int(row["part"]),
            parts=int(row["parts"]),
        )
        began_s = time.time()
        rows = failed = 0
        reason = ""
        try:
            with self._destination.part(shard.number, self._layout.schema) as part:
                self._do(shard, part)
            rows, failed = part.rows, len(part.errors)
        except Exception as error:  # the others go on; this one is for another try
            logger.exception("shard_failed", shard=shard.number)
            reason = f"{type(error).__name__}: {error}"
        return {
            "number": shard.number,
            "rows": rows,
            "failed": failed,
            "began_s": began_s,
            "ended_s": time.time(),
            "reason": reason,
        }

    def _do(self, shard: Shard, part: Part) -> None:
        good: list[Seen] = []
        for seen in self._seen(shard):
            if isinstance(seen.image, ServiceError):
                part.fail(seen.id, seen.image)
                continue
            good.append(seen)
            if len(good) == self._settings.max_batch:
                self._add(good, part)
                good.clear()
        if good:
            self._add(good, part)

    def _add(self, batch: list[Seen], part: Part) -> None:
        images = [seen.image for seen in batch if isinstance(seen.image, DecodedImage)]
        alone = [seen.encoded for seen in batch if seen.encoded is not None]
        if alone:
            encoded = {name: np.concatenate([each[name] for each in alone]) for name in alone[0]}
        else:
            encoded = self._engine.run("encode", {"image": np.stack([image.pixels for image in images])})
        part.add(self._layout.rows([seen.id for seen in batch], [image.source for image in images], encoded))

    def _seen(self, shard: Shard) -> Iterator[Seen]:
        """The shard's pictures in order, some batches ahead."""
        ahead = 2 * self._settings.max_batch
        held: deque[Future[Seen]] = deque()
        for row in self._read(shard):
            held.append(self._seeing.submit(self._see, row))
            if len(held) > ahead:
                yield held.popleft().result()
        while held:
            yield held.popleft().result()

    def _read(self, shard: Shard) -> Iterator[Row]:
        """The shard's rows, read some ahead."""
        rows = self._reader.rows(shard)

        def some() -> list[Row]:
            return list(islice(rows, AT_ONCE))

        following = self._reading.submit(some)
        while ready := following.result():
            following = self._reading.submit(some)
            yield from ready

    def _see(self, row: Row) -> Seen:
        if isinstance(row.content, ServiceError):
            return Seen(row.id, row.content)
        side, most = self._engine.manifest.image_size, self._settings.max_image_pixels
        try:
            image = decode_image(row.content, side, self._fit, most)
        except ServiceError as error:
            return Seen(row.id, error)
        if not self._engine.single:
            return Seen(row.id, image)
        encoded = self._engine.run("encode", {"image": image.pixels[np.newaxis]}, crowded=True)
        return Seen(row.id, image, encoded)

"""The limit: decoding on threads, batches through ONNX Runtime meanwhile, in one process without HTTP.

Where the encoder has one thread, each of as many threads as there are processors decodes and runs single
pictures instead, and there are no batches. It takes pictures and prints what `load.py` does, so many at work
at a time or at a fixed rate.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from service.runtime.resources import available_processors
from tests.benchmarks.serving.arrivals import arrivals
from tests.benchmarks.serving.encoder import Encoder
from tests.benchmarks.serving.measurement import Measurement, measure

Decoded = tuple[float, NDArray[np.uint8]]
"""When a picture was due, and its pixels."""


class BareLoop:
    """A few pictures in turn, again and again."""

    def __init__(self, encoder: Encoder, pictures: Sequence[bytes]) -> None:
        self._encoder = encoder
        self._pictures = cycle(pictures)
        self._decoded: SimpleQueue[Decoded | None] = SimpleQueue()
        self._single = encoder.settings.threads == 1
        self._threads = ThreadPoolExecutor(
            available_processors() if self._single else encoder.settings.decode_threads
        )

    def run(self, *, concurrency: int, rate: float | None, seconds: float, warm_s: float) -> Measurement:
        """As in `load.py`: what ends within the window counts, with a rate what was due in it."""
        first = time.perf_counter()
        begin, end = first + warm_s, first + warm_s + seconds
        told = [
            threading.Timer(delay, print, [what], {"flush": True})
            for delay, what in ((warm_s, "begin"), (warm_s + seconds, "end"))
        ]
        for timer in told:
            timer.start()
        if rate is None:
            for _ in range(concurrency):
                self._admit(first)
        else:
            threading.Thread(target=self._schedule, args=(rate, first, warm_s + seconds)).start()
        at_work = concurrency
        latencies: list[float] = []
        while at_work and (batch := self._next_batch()):
            if not self._single:
                self._encoder.run([pixels for _, pixels in batch])
            now = time.perf_counter()
            latencies += [now - due for due, _ in batch if begin <= (now if rate is None else due) < end]
            if rate is None:
                for _ in batch:
                    if now < end:
                        self._admit(now)
                    else:
                        at_work -= 1
        self._threads.shutdown()
        for timer in told:
            timer.join()
        return measure(latencies, seconds=seconds, failed=0, client_cpu_s=0.0)

    def _admit(self, due: float) -> None:
        self._threads.submit(self._decode, due, next(self._pictures))

    def _decode(self, due: float, picture: bytes) -> None:
        pixels = self._encoder.decode(picture)
        if self._single:
            self._encoder.run([pixels])
        self._decoded.put((due, pixels))

    def _schedule(self, rate: float, first: float, seconds: float) -> None:
        for instant in arrivals(rate, seconds):
            time.sleep(max(0.0, first + instant - time.perf_counter()))
            self._admit(first + instant)
        self._threads.shutdown()  # waits for the last of them
        self._decoded.put(None)

    def _next_batch(self) -> list[Decoded]:
        """What is decoded by now, at least one; empty when nothing comes any more."""
        batch: list[Decoded] = []
        while not batch or (len(batch) < self._encoder.settings.max_batch and not self._decoded.empty()):
            item = self._decoded.get()
            if item is None:
                if batch:
                    self._decoded.put(None)
                break
            batch.append(item)
        return batch


def main(
    pictures: list[Path],
    seconds: float = 5.0,
    warm_s: float = 1.0,
    concurrency: int = 1,
    rate: Annotated[float | None, typer.Option(help="Pictures a second, in an open loop.")] = None,
) -> None:
    """Measure the bare loop."""
    loop = BareLoop(Encoder.from_environment(), [picture.read_bytes() for picture in pictures])
    print(loop.run(concurrency=concurrency, rate=rate, seconds=seconds, warm_s=warm_s).model_dump_json())


if __name__ == "__main__":
    typer.run(main)

"""How cost grows with the work: pictures, batches, threads, patches, tokens. `make benchmark-scaling`.

Nothing here is served: these are the terms of the model of cost in docs/inside/performance.md. How a fleet
grows with its workers, the servers `workers-1`, `workers-2` and so on of the benchmark tell.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from service.settings import Settings, read_settings
from tests.benchmarks.serving.bundles import TINY, bundle_folder, random_bundle
from tests.benchmarks.serving.encoder import Encoder
from tests.benchmarks.serving.pictures import write_picture

MEGAPIXELS = (0.1, 0.5, 2, 6, 12)
BATCHES = (1, 2, 4, 8, 16, 32)
SIDES = (96, 144, 192, 288)
TOKENS = (4, 16, 64)
LEAST_RUNS, LEAST_S = 5, 1.0


def main(
    out: Annotated[Path, typer.Option(help="Folder of pictures and models.")] = Path("work/benchmark"),
) -> None:
    """Print three tables."""
    settings = read_settings(max_batch=max(BATCHES))
    tiny = Encoder(bundle_folder(TINY, out), settings)
    _table("megapixels", "decode, ms", [(f"{size:g}", _decoding(tiny, out, size)) for size in MEGAPIXELS])
    alone = Encoder(bundle_folder(TINY, out), settings.model_copy(update={"threads": 1}))
    for name, encoder in (("all processors", tiny), ("one thread", alone)):
        rows = [(str(size), _encoding(encoder, size)) for size in BATCHES]
        _table(f"batch, {name}", "encode, ms an image", rows)
    _table(
        "side, px",
        "encode, ms an image",
        [(str(side), _random(out, settings, image_size=side)) for side in SIDES],
    )
    tokens = [(str(count), _random(out, settings, num_sparse_tokens=count)) for count in TOKENS]
    _table("tokens", "encode, ms an image", tokens)


def _decoding(encoder: Encoder, out: Path, megapixels: float) -> float:
    jpeg = write_picture(out / "pictures", megapixels).read_bytes()
    return _milliseconds(lambda: encoder.decode(jpeg))


def _encoding(encoder: Encoder, batch: int) -> float:
    """Milliseconds of one image in a batch."""
    pixels = np.zeros((batch, *encoder.size, 3), np.uint8)
    return _milliseconds(lambda: encoder.run(pixels)) / batch


def _random(out: Path, settings: Settings, **overrides: int) -> float:
    """One image in a batch of 8 for the preset `tiny` with other sizes."""
    eight = settings.model_copy(update={"max_batch": 8})
    return _encoding(Encoder(random_bundle("tiny", out, "fp32", **overrides), eight), 8)


def _milliseconds(work: Callable[[], object]) -> float:
    """The median over a second, at least five times."""
    times: list[float] = []
    while len(times) < LEAST_RUNS or sum(times) < LEAST_S:
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def _table(what: str, cost: str, rows: list[tuple[str, float]]) -> None:
    print(f"| {what} | {' | '.join(name for name, _ in rows)} |")
    print("|---" * (len(rows) + 1) + "|")
    print(f"| {cost} | {' | '.join(f'{value:.2f}' for _, value in rows)} |\n", flush=True)


if __name__ == "__main__":
    typer.run(main)

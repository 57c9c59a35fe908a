"""Bulk jobs against the raw loop, and what a picture costs: `make benchmark-bulk`.

The raw loop reads a folder, decodes on the same number of threads, and runs ONNX Runtime with the same number
of threads in batches of the same size; it writes nothing. Rounds are interleaved, each in new processes, and
medians are told. A job's rate is that from its first shard's beginning to its last one's end; Ray's start
is told separately. Processor times are of one thread, so other work on the machine matters little to them.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from service.bulk.job import Job
from service.bulk.part import Layout, Part
from service.bulk.record import Options
from service.runtime.bundle import choose_bundle
from service.runtime.engine import Engine
from service.settings import BUNDLED_MODELS, Settings
from service.tokens.pictures import decode_image
from tests.service.photos import encoded
from training.data.photos import whole_photos

PICTURES, ROUNDS = 1200, 3
TIMED_PICTURES, BATCH = 240, 8
THREADS = os.cpu_count() or 1
OPTIONS = Options(tokens=True, shard_bytes=8 * 2**20)


def write_pictures(folder: Path) -> None:
    """Parts of sample photos, no two the same: tables of repeated pictures would be small."""
    photos = [*whole_photos().values()]
    draw = np.random.default_rng(0)
    for number in range(PICTURES):
        photo = photos[number % len(photos)]
        width, height = (int(size * draw.uniform(0.6, 1)) for size in photo.size)
        left, top = draw.integers(0, photo.width - width + 1), draw.integers(0, photo.height - height + 1)
        part = photo.crop((int(left), int(top), int(left) + width, int(top) + height))
        (folder / f"{number:05}.jpg").write_bytes(encoded(part, "JPEG", quality=90))


def settings(threads: int) -> Settings:
    """The service's defaults, with so many threads."""
    return Settings.model_validate({"threads": threads, "decode_threads": threads})


def engine(threads: int) -> Engine:
    """The bundled model."""
    return Engine(choose_bundle(BUNDLED_MODELS, None, "cpu"), settings(threads), tell=lambda _: None)


def raw_loop(folder: Path, threads: int) -> tuple[float, float]:
    """Pictures a second, and the seconds before the first."""
    begun = time.perf_counter()
    model = engine(threads)
    side, most = model.manifest.image_size, settings(threads).max_batch
    paths = sorted(folder.iterdir())

    def pixels(path: Path) -> Any:
        return decode_image(path.read_bytes(), side, "crop", 10**8).pixels

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        images = pool.map(pixels, paths)
        while batch := list(islice(images, most)):
            model.run("encode", {"image": np.stack(batch)})
    return len(paths) / (time.perf_counter() - started), started - begun


def bulk(folder: Path, workers: int) -> tuple[float, float]:
    """The same of a bulk job with all processors."""
    with tempfile.TemporaryDirectory() as out:
        begun = time.time()
        job = Job(str(folder), out, OPTIONS, settings(THREADS // workers))
        summary = job.run(workers=workers, address=None)
        assert summary.rows == PICTURES
        return summary.images_per_s, summary.began_s - begun


def costs(folder: Path) -> dict[str, float]:
    """Processor milliseconds of a picture's way on one thread, and the bytes of its row's columns."""
    model = engine(1)
    layout = Layout(model.manifest, pooling="mean", fit="crop", tokens=True)
    paths = sorted(folder.iterdir())[:TIMED_PICTURES]
    marks = [time.process_time()]
    images = [decode_image(path.read_bytes(), model.manifest.image_size, "crop", 10**8) for path in paths]
    marks.append(time.process_time())
    pixels = np.stack([image.pixels for image in images])
    starts = range(0, len(paths), BATCH)
    batches = [model.run("encode", {"image": pixels[i : i + BATCH]}, layout.outputs) for i in starts]
    marks.append(time.process_time())
    file = io.BytesIO()
    with Part(file, layout.schema) as part:
        for i, batch in enumerate(batches):
            own = slice(BATCH * i, BATCH * (i + 1))
            part.add(layout.rows([path.name for path in paths[own]], [x.source for x in images[own]], batch))
    marks.append(time.process_time())
    spent = np.diff(marks) * 1000 / len(paths)
    names = "read and decode, ms", "inference, ms", "table, ms"
    sizes = {"encoded picture, bytes": sum(path.stat().st_size for path in paths) / len(paths)}
    group = pq.ParquetFile(file).metadata.row_group(0)
    for column in map(group.column, range(group.num_columns)):
        name = f"{column.path_in_schema.partition('.')[0]}, bytes"
        sizes[name] = column.total_compressed_size / group.num_rows
    return dict(zip(names, spent, strict=True)) | sizes


def in_a_process(measure: Callable[..., Any], *arguments: Any) -> Any:
    """What it measures, in a fresh process."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def main() -> None:
    """Measure and print."""
    ways: dict[str, tuple[Callable[..., tuple[float, float]], int]] = {
        f"raw loop, {THREADS} threads": (raw_loop, THREADS),
        f"bulk, 1 worker of {THREADS} threads": (bulk, 1),
        f"bulk, {THREADS} workers of 1 thread": (bulk, THREADS),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder)
        rounds = [
            {way: in_a_process(measure, folder, count) for way, (measure, count) in ways.items()}
            for _ in range(ROUNDS)
        ]
        spent = in_a_process(costs, folder)
    table = Table("", "images/s", "of the raw loop", "start, s", title=f"load {os.getloadavg()[0]:.1f}")
    for way in ways:
        rates = [each[way][0] for each in rounds]
        ratios = [each[way][0] / each[next(iter(ways))][0] for each in rounds]
        start = median(each[way][1] for each in rounds)
        table.add_row(way, f"{median(rates):.0f}", f"{median(ratios):.2f}", f"{start:.1f}")
    costs_table = Table("of a picture", "")
    for name, value in spent.items():
        costs_table.add_row(name, f"{value:.2f}" if value < 100 else f"{value:.0f}")
    console = Console(width=100)
    console.print(table)
    console.print(costs_table)


if __name__ == "__main__":
    main()

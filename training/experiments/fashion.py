"""Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747): pictures of clothes in ten classes, as Parquet."""

from __future__ import annotations

import gzip
import io
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from rich.progress import track

from training.data.sources import Source, fetch

FASHION_MNIST = Source(
    name="fashion-mnist",
    registry="debian",
    package="dataset-fashion-mnist",
    kind="labelled",
    use="train",
    licence="MIT",
)
SPLITS = {"train": "train", "test": "t10k"}
"""Our names of the splits and the files'."""
SHARDS = 8
IDX_IMAGES_HEADER, IDX_LABELS_HEADER = 16, 8
"""Bytes before the data, by the number of dimensions."""
SIDE = 28


def prepare_fashion(folder: Path) -> Path:
    """Fetch the set and write `train` and `test` below `folder`, eight shards each; return `folder`.

    Each row has a PNG file in `image` and the class, 0 to 9, in `label`. What is there already stays.
    Raises `SourceError` where the set can't be fetched.
    """
    missing = [split for split in SPLITS if not (folder / split).is_dir()]
    if missing:
        unpacked = fetch(FASHION_MNIST, folder / "sources")
        for split in missing:
            _write(unpacked, split, folder)
    return folder


def _write(unpacked: Path, split: str, folder: Path) -> None:
    images = _read(unpacked, f"{SPLITS[split]}-images-idx3-ubyte.gz", IDX_IMAGES_HEADER)
    labels = _read(unpacked, f"{SPLITS[split]}-labels-idx1-ubyte.gz", IDX_LABELS_HEADER)
    squares = images.reshape(-1, SIDE, SIDE)
    scratch = folder / f".{split}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for shard in track(range(SHARDS), f"Writing {split}"):
        files = [{"bytes": _png(image), "path": None} for image in squares[shard::SHARDS]]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns = {"image": pa.array(files, kind), "label": pa.array(labels[shard::SHARDS], pa.int64())}
        pq.write_table(pa.table(columns), scratch / f"{shard:02}.parquet", row_group_size=1000)
    scratch.rename(folder / split)


def _read(unpacked: Path, name: str, header: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(gzip.decompress(next(unpacked.rglob(name)).read_bytes()), np.uint8, offset=header)


def _png(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()

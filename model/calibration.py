"""A bundle's statistics: what its vectors are over many pictures, and which one finds most.

Needs ONNX Runtime alone. n pictures · N patches · r sparse tokens · D width
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from safetensors.numpy import save

from model.bundle import files_of, read_manifest, replacing, version_of, write_manifest
from model.judges import Judge, Labels, Views, whole
from service.errors import ServiceError
from service.tokens.files import pictures_within
from service.tokens.pooling import POOLED, Pooled, Statistics, pooled_of
from service.tokens.size import ImageSize, image_size

T = TypeVar("T")
Vectors = NDArray[np.float32]

STATISTICS = "statistics.safetensors"
SHRINKAGES = (1.0, 0.5, 0.2, 0.1, 0.03, 0.01, 0.003, 0.001)
"""How far each whitening that is tried is from a whole one; at 1 vectors are only centred."""
LEAST_PICTURES, MOST_PICTURES = 50, 4096
HELD_OUT = 5
"""One picture in this many is judged by, where there are no labels, and no part of the statistics."""

console = Console(stderr=True)


class Seen(NamedTuple):
    """What is kept of a picture."""

    semantics: NDArray[np.float32]
    """(r, D)"""
    pooled: NDArray[np.float32]
    """(3, D), in the order of `POOLED`."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A whitening, and the share that it finds."""

    pooled: Pooled
    shrinkage: float
    found: float


class Encoder:
    """A bundle's encoder on the processors, a picture at a time on each."""

    def __init__(self, folder: Path, size: ImageSize) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(
            folder / "encoder.onnx", options, providers=["CPUExecutionProvider"]
        )
        self.size = size
        self.unreadable = 0
        """Pictures that were left out."""

    def each(
        self, pictures: Sequence[T], pixels: Callable[[T, ImageSize], NDArray[np.uint8]], title: str
    ) -> Iterator[tuple[T, Seen]]:
        """What it makes of the pictures, in order; those that can't be read are left out and counted."""

        def seen(picture: T) -> Seen | None:
            try:
                image = pixels(picture, self.size)
            except (ServiceError, OSError):
                return None
            arrays = self._session.run(["semantics", "localization", "cls"], {"image": image[None]})
            semantics, localization, cls = (array[0] for array in arrays)
            return Seen(
                semantics, np.stack([pooled_of(each, semantics, localization, cls) for each in POOLED])
            )

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            results = track(
                threads.map(seen, pictures), title, len(pictures), console=console, transient=True
            )
            for picture, result in zip(pictures, results, strict=True):
                if result is None:
                    self.unreadable += 1
                else:
                    yield picture, result


def calibrate(folder: Path, pictures: Path, *, labelled: Path | None, most: int) -> dict[str, Any]:
    """Measure the statistics of the bundle `folder` over a folder's pictures; its new manifest.

    Which vector is whitened and how far is chosen by what it finds: of two views of held-out pictures, or
    with `labelled`, a folder of folders, of pictures with the same label. At most `most` pictures are taken,
    always the same. The bundle is replaced as a whole, or stays as it was.

    Raises `ValueError` for a folder that is no sound bundle, or has too few pictures, and `OSError`.
    """
    manifest = read_manifest(folder)
    paths = _chosen(pictures, most)
    judge: Judge
    if labelled is None:
        judged_by = len(paths) // HELD_OUT
        judge, paths = Views(paths[:judged_by]), paths[judged_by:]
    else:
        judge = Labels(labelled)
    encoder = Encoder(folder, image_size(manifest["image_size"]))
    measured = [seen for _, seen in encoder.each(paths, whole, "Measuring")]
    if len(measured) < LEAST_PICTURES:
        raise ValueError(
            f"{pictures}: expected {LEAST_PICTURES} pictures or more that can be read and are not held out, "
            f"got {len(measured)}"
        )
    told = list(encoder.each(judge.pictures, judge.pixels, "Judging"))
    asked, judged = [picture for picture, _ in told], [seen for _, seen in told]
    held_out = {pooled: np.stack([seen.pooled[i] for seen in judged]) for i, pooled in enumerate(POOLED)}
    spreads = {
        pooled: Spread(np.stack([seen.pooled[i] for seen in measured])) for i, pooled in enumerate(POOLED)
    }

    def found(vectors: Vectors) -> float:
        return round(judge.found(asked, vectors), 4)

    choices = [
        Choice(
            pooled=pooled, shrinkage=shrinkage, found=found(spreads[pooled].of(held_out[pooled], shrinkage))
        )
        for pooled in POOLED
        for shrinkage in SHRINKAGES
    ]
    best = max(choices, key=lambda choice: choice.found)
    shares = {"mean": found(held_out["mean"]), "cls": found(held_out["cls"]), "whitened": best.found}
    statistics = Statistics(
        token_means=np.stack([seen.semantics for seen in measured])
        .mean(axis=0, dtype=np.float64)
        .astype(np.float32),
        pooled=best.pooled,
        center=spreads[best.pooled].center.astype(np.float32),
        whitening=spreads[best.pooled].whitening(best.shrinkage).astype(np.float32),
    )
    about = {
        "default": max(shares, key=lambda name: shares[name]),
        "pooled": best.pooled,
        "shrinkage": best.shrinkage,
        "pictures": len(measured),
        "judged": {f"{judge.name}_{name}": share for name, share in shares.items()},
    }
    if encoder.unreadable:
        console.print(f"left out, because they can't be read: {encoder.unreadable}")
    return _write(folder, manifest, statistics, about)


class Spread:
    """How vectors are spread over pictures."""

    def __init__(self, vectors: Vectors) -> None:
        """Of vectors (n, D)."""
        self.center = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - self.center
        self._variances, self._axes = np.linalg.eigh(centred.T @ centred / len(vectors))

    def whitening(self, shrinkage: float) -> NDArray[np.float64]:
        """((1 - s) C + s t I) ^ -½ (D, D), C being the covariance and t its mean variance.

        Shrinkage as in Ledoit and Wolf (2004); the symmetric root turns vectors as little as can be.
        """
        mean = self._variances.mean()
        scales = ((1 - shrinkage) * np.maximum(self._variances, 0) + shrinkage * mean) ** -0.5
        whitening: NDArray[np.float64] = (self._axes * scales) @ self._axes.T
        return whitening

    def of(self, vectors: Vectors, shrinkage: float) -> Vectors:
        """Other vectors (M, D), whitened."""
        whitened: Vectors = ((vectors - self.center) @ self.whitening(shrinkage)).astype(np.float32)
        return whitened


def _chosen(folder: Path, most: int) -> list[Path]:
    """At most so many of a folder's pictures, in an order that their names alone decide."""
    names = pictures_within(folder)[0]
    drawn = sorted(names, key=lambda name: hashlib.sha256(os.fsencode(name)).digest())
    return [folder / name for name in drawn[:most]]


def _write(
    folder: Path, manifest: Mapping[str, Any], statistics: Statistics, about: Mapping[str, Any]
) -> dict[str, Any]:
    with replacing(folder) as scratch:
        shutil.copytree(folder, scratch, dirs_exist_ok=True)
        arrays = {name: getattr(statistics, name) for name in ("token_means", "center", "whitening")}
        (scratch / STATISTICS).write_bytes(save(arrays))
        changed: dict[str, Any] = {}
        for key, value in manifest.items():
            if key != "statistics":
                changed[key] = value
            if key == "quality":
                changed["statistics"] = dict(about)
        changed["files"] = {
            name: entry
            for name, entry in files_of(scratch).items()
            if name in {*manifest["files"], STATISTICS}
        }
        changed["version"] = version_of(changed)
        write_manifest(changed, scratch)
    return changed

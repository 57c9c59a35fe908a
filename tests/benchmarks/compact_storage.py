"""Compact token files against full ones: `make benchmark-storage`.

Sizes are a picture's share of a file of 32. Reconstruction: the six sample photos of scikit-image and
scikit-learn, PSNR against the photo; changes are against the picture that full tokens make, in levels of 255.
"Each token dropped" draws every photo without each of its tokens. Search: the mean tokens of Twemoji's emoji
among Noto's, which `stellar-train fetch` prepares; kNN as `stellar-train evaluate` does it, and how many of
the ten nearest neighbours by full tokens are among the ten nearest still.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from service.runtime.bundle import read_bundle
from service.runtime.engine import CONCEPTS, OUTPUTS, Engine
from service.settings import BUNDLED_MODELS, Settings
from service.tokens.canvas import apply_edits
from service.tokens.edits import parse_edits
from service.tokens.pictures import Source, decode_image
from service.tokens.token_file import Arrays, ImageTokens, Storage, compact, expand, pack
from tests.service.photos import encoded
from training.data.photos import whole_photos
from training.evaluation.evaluation import LABELLED_SETS
from training.evaluation.knn import knn_accuracy

BATCH = 32
GALLERY, QUERIES = LABELLED_SETS[:2]
NEIGHBOURS = 10
WHOLE = Source(width=1, height=1, rectangle=(0.0, 0.0, 1.0, 1.0), box=(0.0, 0.0, 1.0, 1.0))


def _linear(arrays: Arrays) -> Arrays:
    """The compact form, but for shares in uint8 as they are."""
    levels = np.rint(255 * arrays["localization"])
    shares = (levels / levels.sum(axis=-1, keepdims=True)).astype(np.float32)
    return expand(compact(arrays)) | {"localization": shares}


FORMS: dict[str, tuple[Storage, Callable[[Arrays], Arrays]]] = {
    "full (float32)": ("full", lambda arrays: arrays),
    "compact": ("compact", lambda arrays: expand(compact(arrays))),
    "compact, shares as they are": ("compact", _linear),
}


class Benchmark:
    """The bundled model on photos and drawings."""

    def __init__(self, pictures: Path) -> None:
        bundle = read_bundle(BUNDLED_MODELS / "stellar-tiny")
        self.engine = Engine(bundle, Settings.model_validate({"max_batch": BATCH}), tell=print)
        self.manifest = bundle.manifest
        files = [encoded(photo) for photo in whole_photos().values()]
        self.photos = np.stack([self._pixels(file) for file in files])
        self.photo_tokens = self._encode(self.photos)
        paths = {name: sorted((pictures / "labelled" / name).glob("*/*.png")) for name in (GALLERY, QUERIES)}
        self.labels = {name: [path.parent.name for path in each] for name, each in paths.items()}
        self.names = {name: [path.stem for path in each] for name, each in paths.items()}
        self.drawings = {
            name: self._encode(np.stack([self._pixels(path.read_bytes()) for path in track(each, name)]))
            for name, each in paths.items()
        }
        self.drawn = self._draw(self.photo_tokens)
        self.dropped = self._drop_each(self.photo_tokens)
        self.nearest = self._nearest(self.drawings)

    def row(self, storage: Storage, form: Callable[[Arrays], Arrays]) -> list[str]:
        """The figures of a form."""
        photos = form(self.photo_tokens)
        drawn, dropped = self._draw(photos), self._drop_each(photos)
        error = np.square(drawn - self.photos).mean(axis=(1, 2, 3))
        rms = np.sqrt(np.square(dropped - self.dropped).mean(axis=(1, 2, 3)))
        drawings = {name: form(arrays) for name, arrays in self.drawings.items()}
        near = self._nearest(drawings)
        kept = [len({*a} & {*b}) / NEIGHBOURS for a, b in zip(near, self.nearest, strict=True)]
        return [
            f"{self._bytes(storage):.0f}",
            f"{np.mean(10 * np.log10(255**2 / error)):.3f}",
            f"{np.abs(drawn - self.drawn).max():.0f}",
            f"{rms.mean():.2f} / {rms.max():.2f}",
            f"{100 * self._knn(drawings, self.labels, 20):.2f}",
            f"{100 * self._knn(drawings, self.names, 1):.2f}",
            f"{100 * np.mean(kept):.1f}",
        ]

    def _bytes(self, storage: Storage) -> float:
        images = [
            ImageTokens(
                **{name: array[i] for name, array in self.drawings[QUERIES].items()},
                model=self.manifest.id,
                source=WHOLE,
            )
            for i in range(BATCH)
        ]
        return len(pack(images, storage)) / BATCH

    def _pixels(self, file: bytes) -> NDArray[np.uint8]:
        return decode_image(file, self.manifest.image_size, "crop", 10**8).pixels

    def _encode(self, pixels: NDArray[np.uint8]) -> Arrays:
        parts = [
            self.engine.run("encode", {"image": pixels[i : i + BATCH]}, (*OUTPUTS["encode"], CONCEPTS))
            for i in range(0, len(pixels), BATCH)
        ]
        arrays: Arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        arrays["localization"] = arrays["localization"].reshape(len(pixels), *self.manifest.grid, -1)
        return arrays

    def _draw(self, arrays: Arrays) -> NDArray[np.float64]:
        flat = arrays["localization"].reshape(len(arrays["localization"]), self.manifest.num_patches, -1)
        tokens = {"semantics": arrays["semantics"], "localization": flat}
        parts = [
            self.engine.run("decode", {name: array[i : i + BATCH] for name, array in tokens.items()})["image"]
            for i in range(0, len(flat), BATCH)
        ]
        return np.concatenate(parts).astype(np.float64)

    def _drop_each(self, arrays: Arrays) -> NDArray[np.float64]:
        """Every photo without each of its tokens."""
        edited = [
            apply_edits(
                semantics,
                localization.reshape(self.manifest.num_patches, -1),
                self.manifest.grid,
                parse_edits([{"op": "drop", "token": k}], 1),
            )
            for semantics, localization in zip(arrays["semantics"], arrays["localization"], strict=True)
            for k in range(self.manifest.num_sparse_tokens)
        ]
        return self._draw(
            {"semantics": np.stack([s for s, _ in edited]), "localization": np.stack([x for _, x in edited])}
        )

    def _nearest(self, drawings: dict[str, Arrays]) -> NDArray[np.intp]:
        unit = {name: _unit(arrays["semantics"].mean(axis=1)) for name, arrays in drawings.items()}
        return np.argsort(-(unit[QUERIES] @ unit[GALLERY].T), axis=1)[:, :NEIGHBOURS]

    def _knn(self, drawings: dict[str, Arrays], labels: dict[str, list[str]], k: int) -> float:
        number = {label: i for i, label in enumerate(sorted({*labels[GALLERY], *labels[QUERIES]}))}
        known, asked = (torch.tensor([number[x] for x in labels[name]]) for name in (GALLERY, QUERIES))
        gallery, queries = (
            torch.from_numpy(drawings[name]["semantics"].mean(axis=1)) for name in (GALLERY, QUERIES)
        )
        return knn_accuracy(gallery, known, queries, asked, k)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def main() -> None:
    """Measure every form and print the table."""
    benchmark = Benchmark(Path(sys.argv[1]))
    table = Table(
        "tokens",
        "bytes",
        "PSNR, dB",
        "largest change",
        "each token dropped, rms change: mean / worst",
        "group (k = 20), %",
        "same emoji (k = 1), %",
        "neighbours kept, %",
    )
    for name, (storage, form) in FORMS.items():
        table.add_row(name, *benchmark.row(storage, form))
    Console(width=160).print(benchmark.manifest.id, table)


if __name__ == "__main__":
    main()

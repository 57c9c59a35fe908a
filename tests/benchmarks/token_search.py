"""Search by tokens, with the code of docs/use/search.md: `make benchmark-search`.

Things: each drawing of a collage of four is looked for among collages of Twemoji's, by the token at its
quarter's middle, by the collage's mean token, and by the mean token of the quarter cut out; right are
collages that hold the same emoji, or one of its group. Whole pictures: held-out stamps among the others;
right is the same folder. Both are exact; "centred" is less the mean of the gallery's tokens.
Engine: 50 of the photos and collages are taken out and looked for among the rest. Recall@10 is against
exact search; time is processor time, of all threads, over LanceDB's without an index.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lancedb
import numpy as np
import pyarrow.parquet as pq
from lancedb.index import IvfFlat, IvfPq
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from service.client import ImageTokens, unpack
from tests.benchmarks.collages import MIDDLES, choose, cut, draw_collages
from tests.recipe import DEFINITIONS

FOUND = 10
QUERIES = 50
FLAT_SETTINGS = ((1, 10), (4, 10), (16, 1), (16, 10))
"""nprobes and refine_factor."""
PQ_SETTINGS = ((16, 1), (16, 10))
COLLAGE_DECKS = 20
"""Collages of the gallery that each drawing is in."""
RECIPE: dict[str, Any] = {}
exec(DEFINITIONS, RECIPE)
nearest, clusters, token_at = (RECIPE[name] for name in ("nearest", "clusters", "token_at"))

Floats = NDArray[np.float32]
Search = Callable[[Floats], list[str]]
Images = dict[str, ImageTokens]
"""By their paths."""


def tokens_file(folder: Path, work: Path) -> Path:
    """What `stellar-service tokens` writes for a folder."""
    file = work / f"{folder.name}.parquet"
    if not file.exists():
        command = [sys.executable, "-m", "service.cli", "tokens", str(folder), "--out", str(file)]
        subprocess.run(command, check=True)
    return file


def read(file: Path) -> Images:
    """The tokens in such a file."""
    table = pq.read_table(file)
    files = zip(table["path"].to_pylist(), table["tokens"].to_pylist(), strict=True)
    return {path: unpack(file)[0] for path, file in files}


class Exact:
    """MaxSim by one product of matrices: M pictures of r tokens, as they are or less their mean."""

    def __init__(self, paths: list[str], tokens: Floats, *, centred: bool = False) -> None:
        """`tokens` are (M, r, D)."""
        self._paths = paths
        self._mean = tokens.mean(axis=(0, 1)) if centred else np.zeros_like(tokens[0, 0])
        self._tokens = _unit(tokens - self._mean).reshape(-1, tokens.shape[2])

    @classmethod
    def of(cls, images: Images, *, centred: bool = False) -> Exact:
        """By all tokens."""
        return cls([*images], np.stack([image.semantics for image in images.values()]), centred=centred)

    @classmethod
    def of_means(cls, images: Images) -> Exact:
        """By the mean token."""
        return cls([*images], np.stack(means(images.values()))[:, None])

    def __call__(self, query: Floats) -> list[str]:
        """The paths of the nearest, for tokens (q, D) or one token (D,)."""
        unit = _unit(np.atleast_2d(query) - self._mean)
        scores = (unit @ self._tokens.T).reshape(len(unit), len(self._paths), -1).max(axis=2).sum(axis=0)
        return [self._paths[i] for i in np.argsort(-scores)[:FOUND]]


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def means(images: Iterable[ImageTokens]) -> list[Floats]:
    """The mean token of each, as `/embed` answers it."""
    return [image.semantics.mean(axis=0) for image in images]


def engine(files: list[Path], database: Path) -> Table:
    """Recall and time of indexes."""
    images = {path: image for file in files for path, image in read(file).items()}
    asked = [*images][:: len(images) // QUERIES][:QUERIES]
    out = [images.pop(path) for path in asked]
    rows = chain.from_iterable(RECIPE["rows"](file) for file in files)
    table = lancedb.connect(database).create_table("pictures", rows, schema=RECIPE["SCHEMA"])
    table.delete(f"path IN ({', '.join(repr(path) for path in asked)})")
    queries = {
        "whole": [image.semantics for image in out],
        "token": [token_at(image, image.source.width / 2, image.source.height / 2) for image in out],
    }
    exact = Exact.of(images)
    truth = {kind: [exact(query) for query in each] for kind, each in queries.items()}
    scan = {kind: measure(through(table), each, truth[kind])[1] for kind, each in queries.items()}
    shown = Table("index", "nprobes", "refine_factor")
    for kind in queries:
        shown.add_column(f"{kind}: recall@10, %", justify="right")
        shown.add_column(f"{kind}: time", justify="right")

    def add(name: str, search: Search, *settings: int) -> None:
        cells = []
        for kind, each in queries.items():
            recall, spent = measure(search, each, truth[kind])
            cells += [f"{100 * recall:.1f}", f"{spent / scan[kind]:.2f} ({spent:.1f} ms)"]
        shown.add_row(name, *(str(each) for each in settings or ("", "")), *cells)

    add("NumPy, exact", exact)
    add("none", through(table))
    for index, settings in ((IvfFlat, FLAT_SETTINGS), (IvfPq, PQ_SETTINGS)):
        table.create_index("tokens", config=index(distance_type="cosine", num_partitions=clusters(table)))
        for nprobes, refine_factor in settings:
            search = through(table, nprobes=nprobes, refine_factor=refine_factor)
            add(index.__name__, search, nprobes, refine_factor)
    shown.title = f"{table.count_rows()} pictures, {clusters(table)} clusters"
    return shown


def through(table: Any, **settings: int) -> Search:
    """The page's search."""
    return lambda query: [path for path, _ in nearest(table, query, "tokens", count=FOUND, **settings)]


def measure(search: Search, queries: list[Floats], truth: list[list[str]]) -> tuple[float, float]:
    """Recall in [0, 1], and processor milliseconds of a query."""
    search(queries[0])  # what is read once
    begun = time.process_time()
    found = [search(query) for query in queries]
    spent = 1000 * (time.process_time() - begun) / len(queries)
    kept = [len({*a} & {*b}) / FOUND for a, b in zip(found, truth, strict=True)]
    return float(np.mean(kept)), spent


def precision(search: Search, queries: Sequence[Floats], right: Sequence[set[str]]) -> str:
    """Per cent of the ten nearest that are right."""
    shares = [len(right & {*search(query)}) / FOUND for query, right in zip(queries, right, strict=True)]
    return f"{100 * np.mean(shares):.1f}"


def chance(gallery: Images, right: Sequence[set[str]]) -> str:
    """Per cent of all pictures that are right."""
    return f"{100 * np.mean([len(each) for each in right]) / len(gallery):.1f}"


def whole(gallery: Images, queries: Images) -> Table:
    """Late interaction, the same of centred tokens, and the mean token, judged by folders."""
    right = [{each for each in gallery if Path(each).parent == Path(path).parent} for path in queries]
    tokens = [image.semantics for image in queries.values()]
    shown = Table("late interaction, %", "centred, %", "mean token, %", "chance, %")
    shown.add_row(
        precision(Exact.of(gallery), tokens, right),
        precision(Exact.of(gallery, centred=True), tokens, right),
        precision(Exact.of_means(gallery), means(queries.values()), right),
        chance(gallery, right),
    )
    shown.title = f"{len(queries)} whole stamps among {len(gallery)}"
    return shown


def things(labelled: Path, work: Path) -> Table:
    """Each drawing of new collages, looked for among collages."""
    hands = {"the same": labelled / "twemoji", "another": labelled / "noto"}
    drawings = choose(list(hands.values()))
    held = draw_collages(hands["the same"], drawings, COLLAGE_DECKS, work / "gallery", seed=0)
    gallery = read(tokens_file(work / "gallery", work))
    by_token, centred, by_mean = Exact.of(gallery), Exact.of(gallery, centred=True), Exact.of_means(gallery)
    shown = Table("hand", "right is", "token, %", "centred, %", "mean, %", "mean of cut-out, %", "chance, %")
    for seed, (hand, folder) in enumerate(hands.items(), start=1):
        drawn, quarters = work / f"collages-{folder.name}", work / f"quarters-{folder.name}"
        names = [*chain.from_iterable(draw_collages(folder, drawings, 1, drawn, seed))]
        cut(drawn, quarters)
        collages = read(tokens_file(drawn, work)).values()
        tokens = [token_at(collage, x, y) for collage in collages for x, y in MIDDLES]
        mean = [each for each in means(collages) for _ in MIDDLES]
        mean_of_cut = means(read(tokens_file(quarters, work)).values())
        asked = ((by_token, tokens), (centred, tokens), (by_mean, mean), (by_mean, mean_of_cut))
        for text, depth in (("the same emoji", 2), ("one of its group", 1)):
            right = [holding(held, name, depth) for name in names]
            found = (precision(search, queries, right) for search, queries in asked)
            shown.add_row(hand, text, *found, chance(gallery, right))
    return shown


def holding(held: list[list[str]], name: str, depth: int) -> set[str]:
    """The collages with a drawing that shares GROUP (1) or GROUP/NAME (2) with this one."""
    label = name.split("/")[:depth]
    return {f"{i:04}.png" for i, each in enumerate(held) if label in [one.split("/")[:depth] for one in each]}


def main() -> None:
    """Measure and print the tables."""
    pictures, console = Path(sys.argv[1]), Console(width=140)
    labelled = pictures / "labelled"
    with TemporaryDirectory() as folder:
        work = Path(folder)
        console.print(things(labelled, work))
        gnome = tokens_file(pictures / "train/gnome", work)
        console.print(engine([gnome, tokens_file(work / "gallery", work)], work / "search"))
        stamps = (read(tokens_file(labelled / f"stamps-{part}", work)) for part in ("gallery", "query"))
        console.print(whole(*stamps))


if __name__ == "__main__":
    main()

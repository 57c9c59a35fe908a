"""Search by vectors and by tokens, with the code of docs/use/search.md: `make benchmark-search`.

Vectors: of each drawing of a labelled set the five nearest others vote for its label, weighted as kNN is; by
what `/embed` answers, by raw pixels, and by histograms of colours.
Numbers: of all pairs of a token and another picture, those whose nearest token there has the same number.
Things: each drawing of a collage of four is looked for among collages of Twemoji's, by the token or concept
at its quarter's middle, by the whole collage's vectors, and by those of the quarter cut out; right are
collages that hold the same emoji, or one of its group. "Merged": concepts of a picture that are alike
(a cosine above 0.5, directly or by others) are replaced by their mean. Whole pictures: held-out stamps among
the others; right is the same folder. All these are exact.
Engine: 50 of the photos and collages are taken out and looked for among the rest. Recall@10 is against
exact search; time is processor time, of all threads, over LanceDB's without an index.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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

from model.judges import neighbours_agree
from service.client import ImageTokens, unpack
from service.tokens.choices import Pooling
from service.tokens.pictures import decode_image
from service.tokens.pooling import normalized
from tests.benchmarks.collages import MIDDLES, choose, cut, draw_collages
from tests.recipe import DEFINITIONS

FOUND = 10
SMALL = 32
"""Side of raw pixels."""
QUERIES = 50
FLAT_SETTINGS = ((1, 10), (4, 10), (16, 1), (16, 10))
"""nprobes and refine_factor."""
PQ_SETTINGS = ((16, 1), (16, 10))
COLLAGE_DECKS = 20
"""Collages of the gallery that each drawing is in."""
ALIKE = 0.5
"""Cosine of concepts that are merged."""
SOME = 200
"""Pictures whose tokens are compared by number."""
POOLINGS: tuple[Pooling, ...] = ("mean", "cls", "whitened")
COMPARED: tuple[Pooling, ...] = ("mean", "whitened")
RECIPE: dict[str, Any] = {}
exec(DEFINITIONS, RECIPE)
nearest, clusters, token_at, concepts = (
    RECIPE[name] for name in ("nearest", "clusters", "token_at", "concepts")
)

Floats = NDArray[np.float32]
Search = Callable[[Floats], list[str]]
Images = dict[str, ImageTokens]
"""By their paths."""


def file_of(folder: Path, work: Path, command: str, *options: str) -> Path:
    """What `stellar-service tokens` or `embed` writes for a folder."""
    file = work / "-".join((folder.name, command, *options)).replace("--", "")
    if not file.exists():
        asked = [sys.executable, "-m", "service.cli", command, str(folder), "--out", str(file), *options]
        subprocess.run(asked, check=True)
    return file


def tokens_file(folder: Path, work: Path) -> Path:
    """What `stellar-service tokens` writes."""
    return file_of(folder, work, "tokens")


def vectors(folder: Path, work: Path, pooling: Pooling) -> dict[str, Floats]:
    """What `stellar-service embed` writes, by the pictures' paths."""
    table = pq.read_table(file_of(folder, work, "embed", "--pooling", pooling))
    found = np.array(table["embedding"].to_pylist(), np.float32)
    return dict(zip(table["path"].to_pylist(), found, strict=True))


def read(file: Path) -> Images:
    """The tokens in such a file."""
    table = pq.read_table(file)
    files = zip(table["path"].to_pylist(), table["tokens"].to_pylist(), strict=True)
    return {path: unpack(file)[0] for path, file in files}


class Exact:
    """MaxSim by one product of matrices."""

    def __init__(self, lists: Mapping[str, Floats]) -> None:
        """Of each picture's vectors (r, D), of which there may be other numbers, or one (D,)."""
        whole = {path: np.atleast_2d(each) for path, each in lists.items()}
        self._paths = [*whole]
        self._starts = np.cumsum([0, *(len(each) for each in whole.values())])[:-1]
        self._unit = normalized(np.concatenate([*whole.values()]))

    def __call__(self, query: Floats) -> list[str]:
        """The paths of the nearest, for vectors (q, D) or one (D,)."""
        cosines = normalized(np.atleast_2d(query)) @ self._unit.T
        scores = np.maximum.reduceat(cosines, self._starts, axis=1).sum(axis=0)
        return [self._paths[i] for i in np.argsort(-scores)[:FOUND]]


def all_tokens(images: Images) -> dict[str, Floats]:
    """As they are."""
    return {path: image.semantics for path, image in images.items()}


def all_concepts(images: Images) -> dict[str, Floats]:
    """As the page has them."""
    return {path: concepts(image) for path, image in images.items()}


def merged(rows: Floats) -> Floats:
    """Vectors (r, D) with those that are alike in one."""
    unit = normalized(rows)
    group = list(range(len(rows)))
    for i, j in np.argwhere(np.triu(unit @ unit.T > ALIKE, 1)):
        group = [group[i] if each == group[j] else each for each in group]
    return np.stack([unit[np.equal(group, each)].mean(axis=0) for each in sorted(set(group))])


def by_vectors(pictures: Path, work: Path) -> Table:
    """kNN of drawings by what /embed answers, pixels and colours."""
    shown = Table("pictures, label", *(f"{pooling}, %" for pooling in POOLINGS), "pixels, %", "colours, %")
    for name, text in (("twemoji", "emoji, group"), ("stamps-gallery", "stamps, folder")):
        folder = pictures / name
        small = {
            path.relative_to(folder).as_posix(): decode_image(path.read_bytes(), SMALL, "crop", 10**8).pixels
            for path in sorted(folder.glob("*/*.png"))
        }
        kinds = [vectors(folder, work, pooling) for pooling in POOLINGS]
        kinds.append({path: pixels.ravel().astype(np.float32) for path, pixels in small.items()})
        mean = np.mean([*kinds[-1].values()], axis=0)
        kinds[-1] = {path: each - mean for path, each in kinds[-1].items()}
        kinds.append({path: colours(pixels) for path, pixels in small.items()})
        shown.add_row(text, *(f"{100 * knn(kind):.1f}" for kind in kinds))
    shown.title = "five nearest others vote"
    return shown


def colours(pixels: NDArray[np.uint8]) -> Floats:
    """The root of each colour's share, of 64 colours."""
    levels = (pixels // 64).reshape(-1, 3) @ [16, 4, 1]
    return np.sqrt(np.bincount(levels, minlength=64)).astype(np.float32)


def knn(found: Mapping[str, Floats]) -> float:
    """Share whose five nearest others vote for their own folder."""
    return neighbours_agree([str(Path(path).parent) for path in found], np.stack([*found.values()]))


def numbers(images: Images) -> list[str]:
    """Per cent of tokens, and of concepts, whose nearest in another picture has the same number."""
    some = [*images.values()][:: max(1, len(images) // SOME)][:SOME]
    shares = []
    for rows in ([image.semantics for image in some], [image.concepts for image in some]):
        unit = normalized(np.stack([each for each in rows if each is not None]))
        nearest_numbers = np.einsum("akd,bmd->abkm", unit, unit).argmax(axis=3)
        same = nearest_numbers == np.arange(unit.shape[1])
        others = ~np.eye(len(unit), dtype=bool)
        shares.append(f"{100 * same[others].mean():.1f}")
    return shares


def by_number(photos: Images, collages: Images) -> Table:
    """How far tokens and concepts are comparable across numbers."""
    shown = Table("pairs of", "tokens, %", "concepts, %")
    shown.add_row("photos", *numbers(photos))
    shown.add_row("collages", *numbers(collages))
    shown.title = f"nearest has the same number; chance {100 / 16:.1f} %"
    return shown


def engine(files: list[tuple[Path, Path]], database: Path) -> Table:
    """Recall and time of indexes, for files of tokens and of vectors."""
    images = {path: image for file, _ in files for path, image in read(file).items()}
    asked = [*images][:: len(images) // QUERIES][:QUERIES]
    out = [images.pop(path) for path in asked]
    rows = chain.from_iterable(RECIPE["rows"](*each) for each in files)
    table = lancedb.connect(database).create_table("pictures", rows, schema=RECIPE["SCHEMA"])
    table.delete(f"path IN ({', '.join(repr(path) for path in asked)})")
    queries = {
        "whole": [concepts(image) for image in out],
        "token": [token_at(image, image.source.width / 2, image.source.height / 2) for image in out],
    }
    exact = Exact(all_concepts(images))
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
        table.create_index("concepts", config=index(distance_type="cosine", num_partitions=clusters(table)))
        for nprobes, refine_factor in settings:
            search = through(table, nprobes=nprobes, refine_factor=refine_factor)
            add(index.__name__, search, nprobes, refine_factor)
    shown.title = f"{table.count_rows()} pictures, {clusters(table)} clusters"
    return shown


def through(table: Any, **settings: int) -> Search:
    """The page's search."""
    return lambda query: [path for path, _ in nearest(table, query, "concepts", count=FOUND, **settings)]


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


def whole(labelled: Path, work: Path) -> Table:
    """Late interaction of tokens and of concepts, and vectors, judged by folders."""
    folders = labelled / "stamps-gallery", labelled / "stamps-query"
    gallery, queries = (read(tokens_file(folder, work)) for folder in folders)
    right = [{each for each in gallery if Path(each).parent == Path(path).parent} for path in queries]
    shown = Table("tokens, %", "concepts, %", "mean token, %", "/embed, %", "chance, %")
    kinds = [[each(images) for images in (gallery, queries)] for each in (all_tokens, all_concepts)]
    kinds += [[vectors(folder, work, pooling) for folder in folders] for pooling in COMPARED]
    found = (precision(Exact(known), [*asked.values()], right) for known, asked in kinds)
    shown.add_row(*found, chance(gallery, right))
    shown.title = f"{len(queries)} whole stamps among {len(gallery)}"
    return shown


def things(labelled: Path, work: Path) -> Table:
    """Each drawing of new collages, looked for among collages."""
    hands = {"the same": labelled / "twemoji", "another": labelled / "noto"}
    drawings = choose(list(hands.values()))
    held = draw_collages(hands["the same"], drawings, COLLAGE_DECKS, work / "gallery", seed=0)
    gallery = read(tokens_file(work / "gallery", work))
    by_token, by_concept = Exact(all_tokens(gallery)), Exact(all_concepts(gallery))
    by_merged = Exact({path: merged(each) for path, each in all_concepts(gallery).items()})
    pooled = {pooling: Exact(vectors(work / "gallery", work, pooling)) for pooling in COMPARED}
    shown = Table("hand", "right is", "token, %", "concept, %", "merged, %", title="things in collages")
    for pooling in pooled:
        shown.add_column(f"{pooling}, %")
        shown.add_column(f"{pooling} of cut-out, %")
    shown.add_column("chance, %")
    for seed, (hand, folder) in enumerate(hands.items(), start=1):
        drawn, quarters = work / f"collages-{folder.name}", work / f"quarters-{folder.name}"
        names = [*chain.from_iterable(draw_collages(folder, drawings, 1, drawn, seed))]
        cut(drawn, quarters)
        collages = read(tokens_file(drawn, work)).values()
        things = [token_at(collage, x, y) for collage in collages for x, y in MIDDLES]
        as_they_are = [replace(collage, concepts=collage.semantics) for collage in collages]
        tokens = [token_at(collage, x, y) for collage in as_they_are for x, y in MIDDLES]
        asked: list[tuple[Search, list[Floats]]] = [
            (by_token, tokens),
            (by_concept, things),
            (by_merged, things),
        ]
        for pooling, search in pooled.items():
            whole = [*vectors(drawn, work, pooling).values()]
            asked.append((search, [each for each in whole for _ in MIDDLES]))
            asked.append((search, [*vectors(quarters, work, pooling).values()]))
        for text, depth in (("the same emoji", 2), ("one of its group", 1)):
            right = [holding(held, name, depth) for name in names]
            found = [precision(search, queries, right) for search, queries in asked]
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
        console.print(by_vectors(labelled, work))
        console.print(things(labelled, work))
        folders = (pictures / "train/gnome", work / "gallery")
        files = [(tokens_file(each, work), file_of(each, work, "embed")) for each in folders]
        console.print(by_number(*(read(tokens) for tokens, _ in files)))
        console.print(whole(labelled, work))
        console.print(engine(files, work / "search"))


if __name__ == "__main__":
    main()

"""Search by tokens, with the code of docs/search.md: `make benchmark-search`.

Engine: 60 photos and 40 stamps are looked for among other photos, emoji and collages. Recall@10 is against
NumPy's exact search; time is processor time, of all threads, over that of LanceDB without an index.
Whole pictures: Twemoji's emoji among Noto's, held-out stamps among the others; right is the same group or
folder. Things: each drawing of a collage of four is looked for among collages of Twemoji's, by the token at
its quarter's middle, by the collage's mean token, and by the mean token of the quarter cut out; right are
collages that hold the same emoji, or one of its group. These two search as the page does, with its index;
"centred" is exact search of tokens less the mean of the gallery's.
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
FLAT_SETTINGS = ((1, 1), (1, 10), (4, 10), (16, 1), (16, 4), (16, 10))
"""nprobes and refine_factor."""
PQ_SETTINGS = ((16, 1), (16, 10))
COLLAGE_DECKS = 20
"""Collages of the gallery that each drawing is in."""
RECIPE: dict[str, Any] = {}
exec(DEFINITIONS, RECIPE)
nearest, clusters, token_at = (RECIPE[name] for name in ("nearest", "clusters", "token_at"))

Floats = NDArray[np.float32]
Search = Callable[[Floats], list[str]]


class Library:
    """Folders of pictures, their tokens from the command line, and tables of them."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._database = lancedb.connect(work / "search")

    def tokens(self, folder: Path) -> dict[str, ImageTokens]:
        """Every picture's tokens, by its path within the folder."""
        table = pq.read_table(self._file(folder))
        files = zip(table["path"].to_pylist(), table["tokens"].to_pylist(), strict=True)
        return {path: unpack(file)[0] for path, file in files}

    def table(self, *folders: Path) -> Any:
        """The pictures of some folders, filled in as the page does, without an index."""
        rows = chain.from_iterable(RECIPE["rows"](self._file(folder)) for folder in folders)
        name = "-".join(folder.name for folder in folders)
        return self._database.create_table(name, rows, schema=RECIPE["SCHEMA"])

    def indexed(self, folder: Path) -> Any:
        """The pictures of a folder, with the page's index."""
        table = self.table(folder)
        table.create_index("tokens", config=IvfFlat(distance_type="cosine", num_partitions=clusters(table)))
        return table

    def _file(self, folder: Path) -> Path:
        file = self._work / f"{folder.name}.parquet"
        if not file.exists():
            command = [sys.executable, "-m", "service.cli", "tokens", str(folder), "--out", str(file)]
            subprocess.run(command, check=True)
        return file


def engine(table: Any, queries: list[ImageTokens]) -> Table:
    """Recall and time of indexes."""
    asked = {
        "whole": [query.semantics for query in queries],
        "token": [token_at(query, query.source.width / 2, query.source.height / 2) for query in queries],
    }
    exact = Exact(table)
    truth = {kind: [exact(query) for query in each] for kind, each in asked.items()}
    milliseconds = {kind: measure(through(table), each, truth[kind])[1] for kind, each in asked.items()}
    shown = Table("index", "nprobes", "refine_factor")
    for kind in asked:
        shown.add_column(f"{kind}: recall@10, %", justify="right")
        shown.add_column(f"{kind}: time", justify="right")

    def add(name: str, search: Search, *settings: int) -> None:
        cells = []
        for kind, each in asked.items():
            recall, spent = measure(search, each, truth[kind])
            cells += [f"{100 * recall:.1f}", f"{spent / milliseconds[kind]:.2f} ({spent:.0f} ms)"]
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


class Exact:
    """MaxSim by one product of matrices, of the tokens as they are or less the mean of the table's."""

    def __init__(self, table: Any, *, centred: bool = False) -> None:
        stored = table.to_arrow().combine_chunks()
        self._paths = stored["path"].to_pylist()
        numbers = stored["tokens"].chunk(0).flatten().flatten().to_numpy().reshape(-1, RECIPE["WIDTH"])
        self._mean = numbers.mean(axis=0) if centred else np.zeros_like(numbers[0])
        self._tokens = _unit(numbers - self._mean)

    def __call__(self, query: Floats) -> list[str]:
        """The paths of the nearest, for tokens (q, D) or one token (D,)."""
        unit = _unit(np.atleast_2d(query) - self._mean)
        scores = (unit @ self._tokens.T).reshape(len(unit), len(self._paths), -1).max(axis=2).sum(axis=0)
        return [self._paths[i] for i in np.argsort(-scores)[:FOUND]]


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def through(table: Any, column: str = "tokens", **settings: int) -> Search:
    """The page's search."""
    return lambda query: [path for path, _ in nearest(table, query, column, count=FOUND, **settings)]


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


def chance(table: Any, right: Sequence[set[str]]) -> str:
    """Per cent of all pictures that are right."""
    return f"{100 * np.mean([len(each) for each in right]) / table.count_rows():.1f}"


def whole(library: Library, labelled: Path, gallery: str, queries: str, step: int) -> list[str]:
    """Late interaction and the mean token on every `step`-th picture, judged by the folders of sets."""
    table = library.indexed(labelled / gallery)
    asked = [*library.tokens(labelled / queries).items()][::step]
    images = [image for _, image in asked]
    known = table.to_arrow()["path"].to_pylist()
    right = [{each for each in known if Path(each).parent == Path(path).parent} for path, _ in asked]
    return [
        f"{queries} among {gallery} ({len(asked)} queries)",
        *(precision(search, [image.semantics for image in images], right) for search in by_tokens(table)),
        precision(through(table, "mean"), means(images), right),
        chance(table, right),
    ]


def by_tokens(table: Any) -> tuple[Search, Search]:
    """The page's search, and exact search of centred tokens."""
    return through(table), Exact(table, centred=True)


def means(images: Iterable[ImageTokens]) -> list[Floats]:
    """The mean token of each, as `/embed` answers it."""
    return [image.semantics.mean(axis=0) for image in images]


def things(library: Library, labelled: Path, work: Path) -> Table:
    """Each drawing of new collages, looked for among collages in three ways."""
    hands = {"the same": labelled / "twemoji", "another": labelled / "noto"}
    drawings = choose(list(hands.values()))
    held = draw_collages(hands["the same"], drawings, COLLAGE_DECKS, work / "gallery", seed=0)
    table = library.indexed(work / "gallery")
    shown = Table("hand", "right is", "token, %", "centred, %", "mean, %", "mean of cut-out, %", "chance, %")
    for seed, (hand, folder) in enumerate(hands.items(), start=1):
        drawn, quarters = work / f"collages-{folder.name}", work / f"quarters-{folder.name}"
        names = [*chain.from_iterable(draw_collages(folder, drawings, 1, drawn, seed))]
        cut(drawn, quarters)
        collages = library.tokens(drawn).values()
        tokens = [token_at(collage, x, y) for collage in collages for x, y in MIDDLES]
        mean = [each for each in means(collages) for _ in MIDDLES]
        mean_of_cut = means(library.tokens(quarters).values())
        for text, depth in (("the same emoji", 2), ("one of its group", 1)):
            right = [holding(held, name, depth) for name in names]
            found = [precision(search, tokens, right) for search in by_tokens(table)]
            found += [precision(through(table, "mean"), each, right) for each in (mean, mean_of_cut)]
            shown.add_row(hand, text, *found, chance(table, right))
    return shown


def holding(held: list[list[str]], name: str, depth: int) -> set[str]:
    """The collages with a drawing that shares GROUP (1) or GROUP/NAME (2) with this one."""
    label = name.split("/")[:depth]
    return {f"{i:04}.png" for i, each in enumerate(held) if label in [one.split("/")[:depth] for one in each]}


def main() -> None:
    """Measure and print the tables."""
    pictures, console = Path(sys.argv[1]), Console(width=140)
    labelled, photos = pictures / "labelled", pictures / "train"
    with TemporaryDirectory() as folder:
        library = Library(Path(folder))
        console.print(things(library, labelled, Path(folder)))
        shown = Table("whole pictures", "late interaction, %", "centred, %", "mean token, %", "chance, %")
        shown.add_row(*whole(library, labelled, "noto", "twemoji", 4))
        shown.add_row(*whole(library, labelled, "stamps-gallery", "stamps-query", 1))
        console.print(shown)
        queries = [*library.tokens(photos / "gnome").values()][::24]
        queries += [*library.tokens(labelled / "stamps-query").values()][:40]
        table = library.table(photos / "mate", labelled / "noto", Path(folder) / "gallery")
        console.print(engine(table, queries))


if __name__ == "__main__":
    main()

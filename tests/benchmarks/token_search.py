"""Search by tokens, with the code of docs/search.md: `make benchmark-search`.

Engine: 60 photos and 40 stamps are looked for among other photos, emoji and collages. Recall@10 is against
NumPy's exact search; time is processor time, of all threads, over that of LanceDB without an index.
Whole pictures: Twemoji's emoji among Noto's, held-out stamps among the others; right is the same group or
folder. Things: each drawing of a collage of four is looked for among collages of Twemoji's, by the token at its
quarter's middle, by the collage's mean token, and by the mean token of the quarter cut out; right are collages
that hold the same emoji, or one of its group. The last two parts search as the page does, with its index.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
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
nearest = RECIPE["nearest"]

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
            command = [sys.executable, "-m", "service.cli", "tokens", folder, "--out", file]
            subprocess.run(command, check=True)
        return file


def clusters(table: Any) -> int:
    """As many as the page asks for."""
    return round((16 * table.count_rows()) ** 0.5)


def engine(table: Any, queries: list[ImageTokens]) -> Table:
    """Recall and time of indexes."""
    asked = {
        "whole": [query.semantics for query in queries],
        "token": [query.semantics[query.localization[6, 6].argmax()] for query in queries],
    }
    exact = Exact(table)
    truth = {kind: [exact(query) for query in each] for kind, each in asked.items()}
    milliseconds = {kind: measure(through(table), each, truth[kind])[1] for kind, each in asked.items()}
    shown = Table("index", "nprobes", "refine_factor")
    for kind in asked:
        shown.add_column(f"{kind}: recall@10, %", justify="right")
        shown.add_column(f"{kind}: time", justify="right")

    def add(index: str, search: Search, *settings: int) -> None:
        cells = []
        for kind, each in asked.items():
            recall, spent = measure(search, each, truth[kind])
            cells += [f"{100 * recall:.1f}", f"{spent / milliseconds[kind]:.2f} ({spent:.0f} ms)"]
        shown.add_row(index, *(str(each) for each in settings or ("", "")), *cells)

    add("NumPy, exact", exact)
    add("none", through(table))
    for kind, settings in ((IvfFlat, FLAT_SETTINGS), (IvfPq, PQ_SETTINGS)):
        table.create_index("tokens", config=kind(distance_type="cosine", num_partitions=clusters(table)))
        for nprobes, refine_factor in settings:
            search = through(table, nprobes=nprobes, refine_factor=refine_factor)
            add(kind.__name__, search, nprobes, refine_factor)
    shown.title = f"{table.count_rows()} pictures, {clusters(table)} clusters"
    return shown


class Exact:
    """MaxSim by one product of matrices."""

    def __init__(self, table: Any) -> None:
        stored = table.to_arrow().combine_chunks()
        self._paths = stored["path"].to_pylist()
        numbers = stored["tokens"].chunk(0).flatten().flatten().to_numpy().reshape(-1, RECIPE["WIDTH"])
        self._tokens = numbers / np.linalg.norm(numbers, axis=1, keepdims=True)

    def __call__(self, query: Floats) -> list[str]:
        """The paths of the nearest, for tokens (q, D) or one token (D,)."""
        rows = np.atleast_2d(query)
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        scores = (unit @ self._tokens.T).reshape(len(rows), len(self._paths), -1).max(axis=2).sum(axis=0)
        return [self._paths[i] for i in np.argsort(-scores)[:FOUND]]


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


def precision(search: Search, queries: Iterable[tuple[Floats, Callable[[str], bool]]]) -> str:
    """Per cent of the ten nearest that are right."""
    shares = [np.mean([right(path) for path in search(query)]) for query, right in queries]
    return f"{100 * np.mean(shares):.1f}"


def whole(library: Library, labelled: Path, gallery: str, queries: str, step: int) -> list[str]:
    """A row: late interaction and mean token on whole pictures, judged by folders."""
    table = library.indexed(labelled / gallery)
    asked = list(library.tokens(labelled / queries).items())[::step]

    def same(path: str) -> Callable[[str], bool]:
        return lambda other: other.split("/")[0] == path.split("/")[0]

    known = table.to_arrow()["path"].to_pylist()
    chance = np.mean([np.mean([same(path)(each) for each in known]) for path, _ in asked])
    tokens = ((image.semantics, same(path)) for path, image in asked)
    means = ((image.semantics.mean(axis=0), same(path)) for path, image in asked)
    return [
        f"{queries} among {gallery} ({len(asked)} queries)",
        precision(through(table), tokens),
        precision(through(table, "mean"), means),
        f"{100 * chance:.1f}",
    ]


def things(library: Library, work: Path, labelled: Path) -> Table:
    """By token, mean token of the collage, and mean token of the drawing cut out."""
    hands = {"same hand": labelled / "twemoji", "another hand": labelled / "noto"}
    drawings = choose(list(hands.values()))
    held = draw_collages(hands["same hand"], drawings, COLLAGE_DECKS, work / "gallery", seed=0)
    table = library.indexed(work / "gallery")
    shown = Table(
        "drawings", "right", "token, %", "mean of the collage, %", "mean of the cut-out, %", "chance, %"
    )
    for seed, (hand, folder) in enumerate(hands.items(), start=1):
        collages, quarters = work / f"queries-{folder.name}", work / f"quarters-{folder.name}"
        wanted = draw_collages(folder, drawings, 1, collages, seed)
        cut(collages, quarters)
        whole = list(library.tokens(collages).values())
        cut_out = list(library.tokens(quarters).values())
        for right, part in (("the same emoji", slice(None)), ("one of its group", slice(1))):
            known = [{tuple(name.split("/")[part]) for name in names} for names in held]
            asked = []
            for i, names in enumerate(wanted):
                for quarter, name in enumerate(names):
                    label = tuple(name.split("/")[part])
                    asked.append((i, quarter, lambda path, label=label: label in known[int(Path(path).stem)]))
            chance = np.mean([np.mean([r(f"{j}") for j in range(len(held))]) for _, _, r in asked])
            tokens = ((RECIPE["token_at"](whole[i], *MIDDLES[q]), r) for i, q, r in asked)
            means = ((whole[i].semantics.mean(axis=0), r) for i, _, r in asked)
            cuts = ((cut_out[4 * i + q].semantics.mean(axis=0), r) for i, q, r in asked)
            shown.add_row(
                hand,
                right,
                precision(through(table), tokens),
                precision(through(table, "mean"), means),
                precision(through(table, "mean"), cuts),
                f"{100 * chance:.1f}",
            )
    return shown


def main() -> None:
    """Measure and print the tables."""
    pictures, console = Path(sys.argv[1]), Console(width=140)
    labelled, photos = pictures / "labelled", pictures / "train"
    with TemporaryDirectory() as folder:
        library = Library(Path(folder))
        console.print(things(library, Path(folder), labelled))
        shown = Table("whole pictures", "late interaction, %", "mean token, %", "chance, %")
        shown.add_row(*whole(library, labelled, "noto", "twemoji", 4))
        shown.add_row(*whole(library, labelled, "stamps-gallery", "stamps-query", 1))
        console.print(shown)
        queries = [*library.tokens(photos / "gnome").values()][::24]
        queries += [*library.tokens(labelled / "stamps-query").values()][:40]
        table = library.table(photos / "mate", labelled / "noto", Path(folder) / "gallery")
        console.print(engine(table, queries))


if __name__ == "__main__":
    main()

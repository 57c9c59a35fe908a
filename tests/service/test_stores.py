"""docs/use/qdrant.md and pgvector.md run as they stand there, on pictures of discs and squares."""

from __future__ import annotations

import random
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from service.client import unpack
from tests.docs.pages import ROOT, python_blocks
from tests.service.discs import PLACES, WITH_DISC, WITHOUT, draw_all, picture
from tests.service.server import Server, running

STORES = ("qdrant", "pgvector")
TABLES = ("tokens.parquet", "vectors.parquet")
FOR_STATISTICS = 80
"""Pictures: enough to calibrate a model."""


def page_of(store: str) -> Path:
    return ROOT / f"docs/use/{store}.md"


def commands(server: Server, folder: Path) -> None:
    """What the pages have in common: the tables of `photos`."""
    lines = {tuple(re.findall(r"^stellar-service .*$", page_of(store).read_text(), re.M)) for store in STORES}
    (both,) = lines
    for line in both:
        run(shlex.split(at(server, line)), folder)


def run(command: list[str], folder: Path) -> None:
    subprocess.run([Path(sys.prefix) / "bin" / command[0], *command[1:]], cwd=folder, check=True)


def at(server: Server, text: str) -> str:
    """With the address of this server."""
    return text.replace("http://localhost:8000", server.url)


@pytest.fixture(scope="module")
def photos(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pictures and their tables."""
    folder = tmp_path_factory.mktemp("photos")
    draw_all(folder)
    commands(server, folder)
    return folder


class Page:
    """A page, the names that its blocks have given, and the blocks that are still to run."""

    def __init__(self, store: str, server: Server, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.make, self.fill, self.search, self.delete, self.forget = (
            at(server, block) for block in python_blocks(page_of(store))
        )
        self.names: dict[str, Any] = {}

    def run(self, *blocks: str) -> None:
        for block in blocks:
            exec(block, self.names)

    def found(self, name: str) -> list[tuple[str, float]]:
        return list(self.names[name])

    def rows(self) -> set[tuple[str, str]]:
        """The model's version and the path of all that is kept."""
        if self.store == "pgvector":
            kept = "SELECT model, path FROM pictures UNION SELECT model, path FROM parts"
            return set(self.names["database"].execute(kept).fetchall())
        q = self.names["q"]
        records, _ = self.names["shard"].scroll(q.ScrollRequest(limit=1000, with_payload=True))
        return {(each.payload["model"], each.payload["path"]) for each in records}


@contextmanager
def opened(store: str, server: Server, photos: Path, folder: Path) -> Iterator[Page]:
    """The page in a folder of its own, which has what the photos' has."""
    for name in ("cat.jpg", *TABLES):
        shutil.copy(photos / name, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_RUNTIME_DIR", str(folder))  # where PostgreSQL's package has its lock
        page = Page(store, server, folder)
        try:
            yield page
        finally:
            if "database" in page.names:
                page.names["database"].close()
                page.names["get_server"]("postgres").cleanup()
            if "shard" in page.names:
                page.names["shard"].close()


@pytest.fixture(scope="module", params=STORES)
def page(
    request: pytest.FixtureRequest, server: Server, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    with opened(request.param, server, photos, tmp_path_factory.mktemp("store")) as page:
        page.run(page.make, page.fill, page.search)
        yield page


def kept(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Each picture's vector, and the concepts of its tokens with a place."""
    tokens, vectors = (pq.read_table(folder / name).to_pydict() for name in TABLES)
    images = [unpack(each)[0] for each in tokens["tokens"]]
    concepts = {
        path: image.concepts[image.placed]
        for path, image in zip(tokens["path"], images, strict=True)
        if image.concepts is not None
    }
    return dict(zip(vectors["path"], map(np.array, vectors["embedding"]), strict=True)), concepts


def distances(query: NDArray[Any], vectors: NDArray[Any]) -> NDArray[Any]:
    """1 – cosine."""
    lengths = np.linalg.norm(vectors, axis=-1) * np.linalg.norm(query)
    result: NDArray[Any] = 1 - vectors @ query / lengths
    return result


def test_the_whole_picture_finds_what_comparing_with_all_finds(page: Page) -> None:
    vectors, _ = kept(page.folder)
    far = {path: float(distances(page.names["vector"], each)) for path, each in vectors.items()}
    found = page.found("alike")
    assert found[0][0] == "cat.png"
    assert len(found) == 10
    assert {path for path, _ in found} == set(sorted(far, key=far.__getitem__)[:10])
    np.testing.assert_allclose([each for _, each in found], [far[path] for path, _ in found], atol=2e-3)


def test_a_token_finds_its_thing_in_the_folder_alone(page: Page) -> None:
    _, concepts = kept(page.folder)
    far = {path: distances(page.names["thing"], each).min() for path, each in concepts.items()}
    found = page.found("containing")
    assert {path for path, _ in found} == {path for path in concepts if path.startswith("trip/")}
    assert [each for _, each in found] == sorted(each for _, each in found)
    np.testing.assert_allclose([each for _, each in found], [far[path] for path, _ in found], atol=2e-3)


def test_a_second_filling_adds_nothing(page: Page) -> None:
    before = page.rows()
    page.run(page.fill)
    assert page.rows() == before
    assert len(before) == WITH_DISC + WITHOUT + 1


@pytest.fixture(scope="module")
def recalibrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of another version of the same model."""
    folder, draw = tmp_path_factory.mktemp("recalibrated"), random.Random(1)
    (folder / "pictures").mkdir()
    for i in range(FOR_STATISTICS):
        disc, square = draw.sample(PLACES, 2)
        picture(draw, disc, square).save(folder / f"pictures/{i}.png")
    shutil.copytree(ROOT / "service/bundles/stellar-tiny", folder / "models/stellar-tiny")
    run(["stellar-model", "calibrate", "models/stellar-tiny", "--pictures", "pictures"], folder)
    with running(folder / "log", {}, "--models", str(folder / "models")) as server:
        yield server


@pytest.fixture(scope="module")
def newer(recalibrated: Server, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tables that this server gives of the same pictures."""
    folder = tmp_path_factory.mktemp("newer")
    (folder / "photos").symlink_to(photos / "photos")
    commands(recalibrated, folder)
    return folder


@pytest.mark.parametrize("store", STORES)
def test_what_is_deleted_and_what_another_version_replaces_is_gone(
    store: str, server: Server, recalibrated: Server, newer: Path, photos: Path, tmp_path: Path
) -> None:
    with opened(store, server, photos, tmp_path) as page:
        page.run(page.make, page.fill, page.search, page.delete)
        first = {path for _, path in page.rows()}
        assert first == set(kept(tmp_path)[0]) - {"trip/coffee.jpg"}
        page.run(page.search)
        assert "trip/coffee.jpg" not in dict(page.found("containing"))

        for name in TABLES:
            shutil.copy(newer / name, tmp_path)
        page.run(page.fill, page.search)
        old, new = (each.client.get("/models").json()["models"][0]["id"] for each in (server, recalibrated))
        assert len(page.rows()) == 2 * (WITH_DISC + WITHOUT + 1) - 1
        assert len(dict(page.found("alike"))) == 10  # of the old version, with which it still asks
        page.run(page.forget)
        assert page.rows() == {(new, path) for path in kept(tmp_path)[0]}
        page.run(page.search)
        assert page.found("alike") == page.found("containing") == []
        page.run(page.search.replace(server.url, recalibrated.url))
        assert page.found("alike")[0][0] == "cat.png"
        assert old != new

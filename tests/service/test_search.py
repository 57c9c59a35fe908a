"""docs/use/search.md runs as it stands there, on pictures of discs and squares."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.client import StellarClient
from tests.recipe import COMMANDS, DEFINITIONS, EXAMPLE, FILLING, PART, SEARCHING
from tests.service.discs import draw_all
from tests.service.server import Server


@pytest.fixture(scope="module")
def page(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the names of the page stand for once it has run where `photos` and `cat.jpg` are."""
    folder = tmp_path_factory.mktemp("search")
    draw_all(folder)
    for line in COMMANDS:
        command = shlex.split(at(server, line), comments=True)
        subprocess.run([Path(sys.prefix) / "bin" / command[0], *command[1:]], cwd=folder, check=True)
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in (DEFINITIONS, FILLING, at(server, SEARCHING)):
            exec(block, names)
        yield names


def at(server: Server, text: str) -> str:
    """With the address of this server."""
    return text.replace("http://localhost:8000", server.url)


def test_a_token_finds_the_pictures_that_contain_its_thing(page: dict[str, Any]) -> None:
    found = [path for path, _ in page["containing"]]
    assert found[0] == "cat.png"
    assert all(path.startswith("trip/") for path in found[1:6])
    assert len(found) == len(set(found)) == 10


def test_the_token_of_another_place_finds_others(page: dict[str, Any]) -> None:
    token = page["token_at"](page["cat"], 80, 50)
    found = [path for path, _ in page["nearest"](page["table"], token, "concepts")]
    assert sum(path.startswith("trip/") for path in found) <= 4


def test_a_whole_picture_finds_itself_first(page: dict[str, Any]) -> None:
    for found in (page["alike"], page["alike_in_parts"]):
        assert found[0][0] == "cat.png"
        assert found[0][1] < found[1][1] / 2


def test_the_index_finds_what_comparing_with_all_finds(page: dict[str, Any]) -> None:
    table = page["table"].to_arrow()
    query = unit(page["concepts"](page["cat"]))
    lists = [unit(np.array(each)) for each in table["concepts"].to_pylist()]
    distances = np.array([(1 - (query @ each.T).max(axis=1)).sum() for each in lists])
    order = np.argsort(distances)[:10]
    paths, found = table["path"].to_pylist(), page["alike_in_parts"]
    assert [path for path, _ in found] == [paths[i] for i in order]
    np.testing.assert_allclose([distance for _, distance in found], distances[order], atol=1e-3)


def unit(vectors: NDArray[Any]) -> NDArray[Any]:
    scaled: NDArray[Any] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def test_tokens_without_a_place_stay_out_of_the_lists(
    server: Server, page: dict[str, Any], tmp_path: Path
) -> None:
    rows = {row["path"]: row["concepts"] for row in page["table"].to_arrow().to_pylist()}
    draw_all(tmp_path)
    with StellarClient(server.url) as stellar:
        images = {path: stellar.tokens(tmp_path / "photos" / path) for path in rows}
    for path, image in images.items():
        assert image.placed == np.unique(image.localization.argmax(axis=2)).tolist()
        assert len(rows[path]) == len(image.placed)
    assert min(len(image.placed) for image in images.values()) < 16
    assert min(np.linalg.norm(concepts, axis=1).min() for concepts in rows.values()) > 0


def test_a_vector_of_zeros_hides_its_picture_from_lancedb(page: dict[str, Any], tmp_path: Path) -> None:
    """Why they stay out, rather than being zeros: should LanceDB find such pictures, the page can say so."""
    import lancedb  # only now: it takes seconds to load, and every worker collects this file

    query = page["concepts"](page["cat"])[0]
    lists = {"whole": [query, -query], "with zeros": [query, np.zeros_like(query)]}
    kept = [{"path": path, "concepts": list(each), "vector": query} for path, each in lists.items()]
    table = lancedb.connect(tmp_path).create_table("photos", kept, schema=page["SCHEMA"])
    found = page["nearest"](table, query, "concepts")
    assert [path for path, distance in found if np.isfinite(distance)] == ["whole"]


def test_part_of_a_photo_is_searched_for(server: Server, page: dict[str, Any]) -> None:
    *lines, last = at(server, PART).splitlines()
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    found = [each["path"] for each in eval(last, names)]
    assert found == [path for path, _ in page["nearest"](page["table"], names["face"], "vector")]
    (want,) = server.embedded(Path("cat.jpg").read_bytes(), box="0.2,0.1,0.7,0.9")
    np.testing.assert_allclose(names["face"], want, atol=1e-6)
    (whole,) = server.embedded(Path("cat.jpg").read_bytes())
    assert names["face"] @ np.array(whole) < 0.999


def test_the_short_example_finds_the_same(server: Server, page: dict[str, Any]) -> None:
    *lines, last = at(server, EXAMPLE).splitlines()
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    found = [each["path"] for each in eval(last, names)]
    assert found == [path for path, _ in page["containing"]]

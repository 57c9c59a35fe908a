"""masks: a COCO file that the format's own package reads, with masks that lie where tokens tell."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO

from service.client import ImageTokens, unpack
from tests.service.cli.command import started, stellar
from tests.service.photos import encoded, photo
from tests.service.server import Server

pytestmark = pytest.mark.long

ROTATED = 6
"""EXIF's orientation of a picture that lies on its side."""
WHOLE = "0.0,0.0,1.0,1.0"
WITHOUT_SIZES = {"id": ["a"], "localization": [[[[1]]]], "rectangle": [[0.0] * 4]}

OF_BULK = {
    "id": ["a"],
    "localization": pa.array([[[[1]]]], pa.list_(pa.list_(pa.list_(pa.uint8(), 1), 1), 1)),
    "rectangle": pa.array([[0, 0, 1, 1]], pa.list_(pa.float32(), 4)),
    "width": pa.array([1], pa.int32()),
    "height": pa.array([1], pa.int32()),
}
"""A table of one picture of one pixel."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wide picture, a tall one by EXIF, and one within a folder."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "sub").mkdir()
    (folder / "coffee.jpg").write_bytes(photo("coffee"))
    (folder / "sub/astronaut.png").write_bytes(photo("astronaut", "PNG"))
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    with Image.open(folder / "coffee.jpg") as picture:
        (folder / "rotated.jpg").write_bytes(encoded(picture, "JPEG", exif=exif))
    return folder


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools 2.0.11
@pytest.mark.parametrize("options", [[], ["--fit", "pad"], ["--fit", "stretch", "--box", "0.3,0,0.9,0.7"]])
def test_masks_are_the_largest_tokens_places_in_the_picture(
    folder: Path, server: Server, tmp_path: Path, options: list[str]
) -> None:
    table, out = tmp_path / "tokens.parquet", tmp_path / "new/masks.json"
    assert stellar("tokens", folder, "--out", table, "--server", server.url, *options)[0] == 0
    code, told = stellar("masks", table, "--out", out, FORCE_COLOR="1")  # as on a terminal
    assert code == 0
    assert "3/3" in told
    assert told.endswith(f"masks of 3 pictures written to {out}\n")
    assert list(out.parent.iterdir()) == [out]

    coco = COCO(out)
    assert coco.dataset["info"]["description"].startswith("Regions of the tokens of stellar-tiny@")
    categories = {each["id"]: each["name"] for each in coco.loadCats(coco.getCatIds())}
    assert categories == {i + 1: f"token {i}" for i in range(16)}
    rows = pq.read_table(table).to_pylist()
    images = coco.loadImgs(coco.getImgIds())
    assert [each["file_name"] for each in images] == [row["path"] for row in rows]
    assert [(each["width"], each["height"]) for each in images] == [(600, 400), (400, 600), (512, 512)]
    for image, row in zip(images, rows, strict=True):
        (tokens,) = unpack(row["tokens"])
        owner, shares = drawn(tokens)
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        numbers = [int(categories[each["category_id"]].removeprefix("token ")) for each in annotations]
        assert numbers == sorted({*owner.ravel().tolist()} - {-1})
        for each, number in zip(annotations, numbers, strict=True):
            inside = owner == number
            np.testing.assert_array_equal(coco.annToMask(each), inside)
            y, x = np.nonzero(inside)
            assert each["area"] == len(x)
            assert each["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
            assert each["score"] == pytest.approx(shares[inside].mean(), rel=1e-5)


def drawn(tokens: ImageTokens) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each pixel's token and its share: patch by patch, as rectangles on the picture."""
    source, (h, w, _) = tokens.source, tokens.localization.shape
    left, top, right, bottom = source.rectangle
    owner, shares = np.full((source.height, source.width), -1), np.zeros((source.height, source.width))
    for row in range(h):
        for column in range(w):
            start_y, end_y = (top + (bottom - top) * i / h for i in (row, row + 1))
            start_x, end_x = (left + (right - left) * j / w for j in (column, column + 1))
            # From the first pixel whose middle is in it to the last.
            patch = np.s_[
                max(0, math.ceil(start_y - 0.5)) : max(0, math.ceil(end_y - 0.5)),
                max(0, math.ceil(start_x - 0.5)) : max(0, math.ceil(end_x - 0.5)),
            ]
            held = tokens.localization[row, column]
            owner[patch], shares[patch] = held.argmax(), held.max()
    left, top, right, bottom = (int(place) for place in source.box)
    outside = np.ones(owner.shape, bool)
    outside[top:bottom, left:right] = False
    owner[outside] = -1
    return owner, shares


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"path": ["a"], "vector": [[1.0]]},
            "path, tokens or id, localization, rectangle, width, height; got",
        ),
        (WITHOUT_SIZES, "got id, localization, rectangle"),
        ({"path": ["a"], "tokens": [b"a"]}, "the bytes are no safetensors file"),
        (
            {"path": pa.array([], pa.string()), "tokens": pa.array([], pa.binary())},
            "has no rows: expected what tokens or bulk has written",
        ),
        ({"path": [1], "tokens": [b"a"]}, "has written; this one's path is of another type"),
        ({"path": ["a"], "tokens": ["a"]}, "has written; this one's tokens is of another type"),
        (
            {"path": pa.array([None], pa.string()), "tokens": [b"a"]},
            "table.parquet: expected no nulls, got some in path",
        ),
        (OF_BULK | {"width": ["600"]}, "has written; this one's width is of another type"),
        (OF_BULK | {"localization": [[[[1]]]]}, "has written; this one's localization is of another type"),
        (
            OF_BULK | {"rectangle": pa.array([None], pa.list_(pa.float32(), 4))},
            "table.parquet: expected no nulls, got some in rectangle",
        ),
        (OF_BULK | {"height": pa.array([0], pa.int32())}, "table.parquet: source: expected the size"),
        (
            OF_BULK | {"rectangle": pa.array([[0, 0, math.nan, 1]], pa.list_(pa.float32(), 4))},
            "table.parquet: source: expected the size",
        ),
        (None, "table.parquet: expected a table that tokens or bulk --tokens has written"),
    ],
)
def test_other_tables_are_refused_and_what_was_there_stays(
    tmp_path: Path, columns: dict[str, Any] | None, message: str
) -> None:
    table, out = tmp_path / "table.parquet", tmp_path / "masks.json"
    out.write_text("before")
    if columns is None:
        table.write_text("no table")
    else:
        pq.write_table(pa.table(columns).replace_schema_metadata({"model": "tiny@1", "box": WHOLE}), table)
    code, told = stellar("masks", table, "--out", out)
    assert (code, "Traceback" in told) == (2, False)
    assert told.startswith("error: ")
    assert message in told
    assert out.read_text() == "before"


def test_a_damaged_table_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    table, out = tmp_path / "table.parquet", tmp_path / "out/masks.json"
    sound = pa.table(OF_BULK).replace_schema_metadata({"model": "tiny@1", "box": WHOLE})
    pq.write_table(sound, table)
    assert stellar("masks", table, "--out", out)[0] == 0
    whole = table.read_bytes()
    out.unlink()
    for damaged in (whole[:4] + bytes(len(whole) // 4) + whole[4 + len(whole) // 4 :], whole[:-9], b""):
        table.write_bytes(damaged)
        code, told = stellar("masks", table, "--out", out)
        assert (code, "Traceback" in told) == (2, False)
        assert told.startswith(f"error: {table}: ")
        assert list(out.parent.iterdir()) == []


def test_tables_of_two_models_and_folders_without_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    code, told = stellar("masks", tmp_path, "--out", tmp_path / "masks.json")
    assert (code, told) == (2, f"error: {tmp_path} has no rows: expected what tokens or bulk has written\n")
    for number, model in enumerate(("tiny@1", "tiny@2")):
        table = pa.table({"path": ["a"], "tokens": [b""]}).replace_schema_metadata(
            {"model": model, "box": WHOLE}
        )
        pq.write_table(table, tmp_path / f"parts/{number:06}.parquet")
    code, told = stellar("masks", tmp_path, "--out", tmp_path / "masks.json")
    assert (code, told) == (2, f"error: {tmp_path} has tokens of several models: tiny@1, tiny@2\n")
    assert not (tmp_path / "masks.json").exists()


def test_a_table_that_tells_no_model_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a"], "tokens": [b""]}), tmp_path / "table.parquet")
    code, told = stellar("masks", tmp_path / "table.parquet", "--out", tmp_path / "masks.json")
    assert (code, told.endswith("has written, whose metadata tell model and box\n")) == (2, True)


@pytest.mark.parametrize("missing", ["pycocotools", "pyarrow"])
def test_what_is_not_installed_is_named(folder: Path, tmp_path: Path, missing: str) -> None:
    without = f"import sys; sys.modules['{missing}'] = None; from service.cli import app; app()"
    code, told = started("masks", folder, "--out", tmp_path / "masks.json", python=without)
    assert (code, told) == (2, f"error: {missing} is missing: pip install 'stellar-service[coco]'\n")


def test_the_table_itself_is_not_replaced(folder: Path, server: Server, tmp_path: Path) -> None:
    table = tmp_path / "tokens.parquet"
    assert stellar("tokens", folder / "coffee.jpg", "--out", table, "--server", server.url)[0] == 0
    before = table.read_bytes()
    code, told = stellar("masks", table, "--out", table)
    assert (code, "is read itself and would be replaced: name another" in told) == (2, True)
    assert table.read_bytes() == before
    assert started("masks", table, "--out", tmp_path / "masks.json")[0] == 0
    assert len(json.loads((tmp_path / "masks.json").read_text())["images"]) == 1

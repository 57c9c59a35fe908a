"""The rows of shards: every one is there, as bytes or as an error, in whatever form they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.bulk.rows import AT_ONCE, Reader
from service.bulk.shards import plan
from service.errors import ServiceError
from tests.service.bulk.sources import write_archive, write_folder, write_parquet

PICTURES = {f"{i:03}.png": f"picture {i}".encode() for i in range(2 * AT_ONCE + 3)}


def read(source: Path | str, shard_bytes: int = 2**20, **columns: str) -> list[tuple[str, Any]]:
    """Ids, and bytes or errors' codes, of all shards."""
    planned = plan(str(source), shard_bytes)
    options: dict[str, str | None] = {"image_column": None, "id_column": None} | columns
    reader = Reader(str(source), planned.root, planned.kind, **options)
    reader.check(planned.shards[0])
    return [
        (row.id, row.content.code if isinstance(row.content, ServiceError) else row.content)
        for shard in planned.shards
        for row in reader.rows(shard)
    ]


def test_files_that_are_gone_since_they_were_listed_are_told(tmp_path: Path) -> None:
    planned = plan(str(write_folder(tmp_path, PICTURES)), 2**20)
    (tmp_path / "004.png").unlink()
    reader = Reader(str(tmp_path), planned.root, "pictures", image_column=None, id_column=None)
    rows = {row.id: row.content for row in reader.rows(planned.shards[0])}
    gone = rows.pop("004.png")
    assert isinstance(gone, ServiceError)
    assert gone.code == "unreadable_file"
    assert rows == {name: content for name, content in PICTURES.items() if name != "004.png"}


@pytest.mark.parametrize("shard_bytes", [200, 1000, 2**20])
def test_rows_of_parquet_are_all_there_once_however_it_is_cut(tmp_path: Path, shard_bytes: int) -> None:
    write_parquet(tmp_path / "a.parquet", PICTURES, rows_a_group=7)
    assert read(tmp_path, shard_bytes) == [
        (f"a.parquet:{i}", content) for i, content in enumerate(PICTURES.values())
    ]
    assert read(tmp_path, shard_bytes, id_column="name") == list(PICTURES.items())


def test_a_column_of_bytes_is_taken_by_its_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"thumb": [b"1", None], "image": ["text", "text"]}), tmp_path / "a.parquet")
    assert read(tmp_path, image_column="thumb") == [("a.parquet:0", b"1"), ("a.parquet:1", "empty_image")]
    refusals: list[tuple[dict[str, Any], str]] = [
        ({}, r"expected a column image or .*, got thumb \(binary\), image \(string\): see --image-column"),
        ({"image_column": "photo"}, "expected a column photo of bytes"),
        ({"image_column": "thumb", "id_column": "key"}, "expected a column key of ids, got thumb, image"),
    ]
    for columns, message in refusals:
        with pytest.raises(ValueError, match=message):
            read(tmp_path, **columns)


def test_damaged_rows_of_parquet_are_named_and_the_others_read(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", PICTURES, rows_a_group=10)
    place = pq.ParquetFile(path).metadata.row_group(2).column(1).data_page_offset
    data = bytearray(path.read_bytes())
    data[place : place + 40] = b"\xff" * 40
    path.write_bytes(data)
    rows = read(tmp_path)
    assert ("a.parquet:20-29", "unreadable_file") in rows
    assert len(rows) == len(PICTURES) - 10 + 1
    path.write_bytes(data[:-100])
    assert read(tmp_path, 500) == [("a.parquet", "unreadable_file")]


def test_archives_have_a_picture_for_each_key(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.tar", {"x/1.jpg": b"1", "x/2.left.png": b"2", "3.json": b"3"})
    assert read(tmp_path) == [("x/1", b"1"), ("x/2", b"2"), ("3", "no_image")]
    assert read(tmp_path, image_column="left.png") == [("x/1", "no_image"), ("x/2", b"2"), ("3", "no_image")]


@pytest.mark.parametrize("cut", ["in a picture", "in a header", "by noise"])
def test_archives_that_are_damaged_are_told_with_what_comes_before(tmp_path: Path, cut: str) -> None:
    path = write_archive(tmp_path / "a.tar", {"1.jpg": b"1" * 512, "2.jpg": b"2" * 512})
    data = path.read_bytes()
    second = 2 * 1024
    cuts = {
        "in a picture": data[: second + 700],
        "in a header": data[: second + 100],
        "by noise": data[:second] + b"noise" * 1000,
    }
    path.write_bytes(cuts[cut])
    assert read(tmp_path) == [("1", b"1" * 512), ("a.tar", "unreadable_file")]

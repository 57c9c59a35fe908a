"""The rows of shards: every one is there, as bytes or as an error, in whatever form they lie."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.bulk.rows import AT_ONCE, Reader
from service.bulk.shards import plan
from service.errors import ServiceError
from service.tokens.names import escaped
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


ARCHIVES = [
    # what is packed, and the rows; a file's content is its name
    (
        "dates in names",
        ["IMG_2023.01.01_001.jpg", "IMG_2023.01.01_002.jpg", "b.jpg"],
        {
            "IMG_2023": "IMG_2023.01.01_001.jpg",
            "IMG_2023.01.01_002.jpg": "other_picture",
            "b": "b.jpg",
        },
    ),
    (
        "a Mac's halves",
        ["./._0.jpg", "./0.jpg", "./._1.jpg", "./1.jpg"],
        {"./0": "./0.jpg", "./1": "./1.jpg"},
    ),
    ("hidden", [".a.jpg", "x/.b.jpg", ".git/c.jpg", "x/@eaDir/d.jpg", "../e.jpg"], {"../e": "../e.jpg"}),
    ("no extension", ["README", "x/LICENSE", "a.jpg"], {"a": "a.jpg"}),
    ("a folder with a dot", ["v1.0/a.jpg", "v1.0/b.jpg"], {"v1.0/a": "v1.0/a.jpg", "v1.0/b": "v1.0/b.jpg"}),
    ("no sample", ["README", "._a.jpg"], {"a.tar": "no_image"}),
    ("not UTF-8", ["h\udcf6he.jpg", "h\udcf6he.json"], {r"h\xf6he": r"h\xf6he.jpg"}),
]


@pytest.mark.parametrize(("names", "rows"), [row[1:] for row in ARCHIVES], ids=[row[0] for row in ARCHIVES])
def test_archives_have_the_samples_that_webdataset_means(
    tmp_path: Path, names: list[str], rows: dict[str, str]
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = len(escaped(name))
            archive.addfile(entry, io.BytesIO(escaped(name).encode()))
    assert read(tmp_path) == [(key, value.encode() if "." in value else value) for key, value in rows.items()]


def test_what_a_sample_has_in_place_of_a_picture_is_named(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.tar", {"IMG_2023.01.01_001.jpg": b"1"})
    planned = plan(str(tmp_path), 2**20)
    reader = Reader(str(tmp_path), planned.root, planned.kind, image_column="jpg", id_column=None)
    (row,) = reader.rows(planned.shards[0])
    assert str(row.content) == "The sample has no file .jpg, but .01.01_001.jpg, .txt."


IDS = [
    (pa.array(["a", None, "c"]), ["a", "a.parquet:1", "c"]),
    (pa.array([b"a", b"h\xf6he", None]), ["a", r"h\xf6he", "a.parquet:2"]),
    (pa.array(["höhe".encode(), b"", b"\\xf6"]), ["höhe", "", r"\x5cxf6"]),
    (pa.array([b"ab", b"c\xff", None], pa.binary(2)), ["ab", r"c\xff", "a.parquet:2"]),
    (
        pa.array([b"a", b"h\xf6he", b"c"]).view(pa.string()),
        ["a", r"h\xf6he", "c"],
    ),  # as some writers leave it
    (pa.array(["x", None, "x"]).dictionary_encode(), ["x", "a.parquet:1", "x"]),
    (pa.array([0, None, 7]), ["0", "a.parquet:1", "7"]),
    (pa.array([None, None, None]), ["a.parquet:0", "a.parquet:1", "a.parquet:2"]),
]


@pytest.mark.parametrize(("ids", "text"), IDS, ids=[str(ids.type) for ids, _ in IDS])
def test_ids_of_parquet_are_text_whatever_they_are(tmp_path: Path, ids: pa.Array, text: list[str]) -> None:
    pq.write_table(pa.table({"key": ids, "image": [b"1", b"2", b"3"]}), tmp_path / "a.parquet")
    assert read(tmp_path, id_column="key") == list(zip(text, [b"1", b"2", b"3"], strict=True))


def test_names_that_are_not_utf_8_are_read_and_told_as_text(tmp_path: Path) -> None:
    (tmp_path / "b\udce4r").mkdir()
    for name in ("h\udcf6he.jpg", "b\udce4r/a.jpg", r"h\xf6he.jpg"):
        (tmp_path / name).write_bytes(escaped(name).encode())
    names = [r"b\xe4r/a.jpg", r"h\x5cxf6he.jpg", r"h\xf6he.jpg"]
    assert read(tmp_path) == [(name, name.encode()) for name in names]
    write_parquet(tmp_path / "plain", PICTURES, rows_a_group=7)
    (tmp_path / "h\udcf6he.parquet").symlink_to("plain")
    assert read(f"{tmp_path}/*.parquet")[3] == (r"h\xf6he.parquet:3", PICTURES["003.png"])


def test_a_cache_of_links_is_read_as_its_files(tmp_path: Path) -> None:
    """As huggingface_hub lays it out: blobs by their digest, snapshots of links to them."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots/0a1b/data"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    write_parquet(blobs / "5f0c", PICTURES, rows_a_group=7)
    (snapshot / "train-0.parquet").symlink_to("../../../blobs/5f0c")
    for source in (tmp_path, tmp_path / "snapshots/0a1b", snapshot / "train-0.parquet"):
        assert [content for _, content in read(source)] == list(PICTURES.values())
    assert plan(str(tmp_path), 2**20).left_out == (
        "1 file is no Parquet file and was left out: 1 with no suffix"
    )

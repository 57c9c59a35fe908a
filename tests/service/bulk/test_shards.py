"""A source's shards: the same whoever lists it, whole, and refused where it is no one source."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.bulk.shards import MAX_FILES, plan
from tests.service.bulk.sources import write_folder


def test_a_folder_s_pictures_are_all_there_once_in_shards_of_a_size(tmp_path: Path) -> None:
    names = [f"{'ab'[i % 2]}/{i:02}.PNG" for i in range(11)]
    write_folder(tmp_path, dict.fromkeys(names, b"1234") | {"notes.txt": b"5"})
    planned = plan(str(tmp_path), 12)
    assert (planned.kind, planned.root, planned.address) == (
        "pictures",
        str(tmp_path),
        f"file://{tmp_path}",
    )
    assert [len(shard.names) for shard in planned.shards] == [3, 3, 3, 2]
    assert [name for shard in planned.shards for name in shard.names] == sorted(names)
    assert [shard.number for shard in planned.shards] == [0, 1, 2, 3]
    assert plan(f"file://{tmp_path}", 12) == planned


def test_a_shard_has_no_more_files_than_it_may(tmp_path: Path) -> None:
    write_folder(tmp_path, {f"{i}.png": b"" for i in range(MAX_FILES + 1)})
    assert [len(shard.names) for shard in plan(str(tmp_path), 2**30).shards] == [MAX_FILES, 1]


def test_large_parquet_files_are_cut_and_archives_are_not(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.parquet": b"1" * 25, "b.parquet": b"1", "a.tar": b"1" * 25})
    parts = [(shard.names, shard.part, shard.parts) for shard in plan(f"{tmp_path}/*.parquet", 10).shards]
    assert parts == [*((["a.parquet"], part, 3) for part in range(3)), (["b.parquet"], 0, 1)]
    assert len(plan(f"{tmp_path}/*.tar", 10).shards) == 1


@pytest.mark.parametrize("name", ["a[1]", "a*b?", "a b"])
def test_names_that_look_like_patterns_are_names(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path, {f"{name}/{name}.png": b"1"})
    assert plan(str(tmp_path / name), 10).shards[0].names == [f"{name}.png"]
    assert plan(str(tmp_path / name / f"{name}.png"), 10).shards[0].names == [f"{name}.png"]


@pytest.mark.parametrize("change", [{"b.png": b"22"}, {"c.png": b"1"}])
def test_other_files_or_sizes_make_another_source(tmp_path: Path, change: dict[str, bytes]) -> None:
    before = plan(str(write_folder(tmp_path, {"a.png": b"1", "b.png": b"1"})), 100).digest
    assert plan(str(write_folder(tmp_path, change)), 100).digest != before


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"notes.txt": b""}, "has nothing to read: expected pictures "),
        (
            {"a.png": b"", "b.tar": b""},
            "expected files of one kind, got pictures and webdataset: name one by",
        ),
    ],
)
def test_what_is_no_one_source_is_refused(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(str(write_folder(tmp_path, files)), 100)
    with pytest.raises(ValueError, match="has nothing to read"):
        plan(f"{tmp_path}/nowhere/*.png", 100)

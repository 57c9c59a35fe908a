"""Which pictures of a folder are held out."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.data.found import Found, find
from training.data.held_out import apart, split
from training.data.streams import FolderStream, open_stream

PATHS = [Path(f"/photos/{index // 100}/{index}.png") for index in range(2000)]


def test_every_picture_is_on_one_side_and_the_share_is_held_out() -> None:
    others, held_out = split(PATHS, "/photos", 0.05)
    assert sorted([*others, *held_out]) == sorted(PATHS)
    assert 70 <= len(held_out) <= 130  # 100 ± 3 deviations of a binomial


def test_a_picture_stays_on_its_side_where_others_come_and_wherever_the_folder_lies() -> None:
    _, of_all = split(PATHS, "/photos", 0.05)
    _, of_half = split(PATHS[:1000], "/photos", 0.05)
    assert set(of_half) == set(of_all) & set(PATHS[:1000])
    moved = [Path("/elsewhere") / path.relative_to("/photos") for path in PATHS]
    _, there = split(moved, "/elsewhere", 0.05)
    assert [path.relative_to("/elsewhere") for path in there] == [p.relative_to("/photos") for p in of_all]


def test_of_few_pictures_two_are_held_out_and_one_is_left() -> None:
    others, held_out = split(PATHS[:3], "/photos", 0.0001)
    assert (len(others), len(held_out)) == (1, 2)
    with pytest.raises(ValueError, match="held_out_share: of 2 pictures none is left to train on"):
        split(PATHS[:2], "/photos", 0.5)


def test_a_stream_has_the_one_side_or_the_other(pictures: Path) -> None:
    sides = [
        open_stream(str(pictures), seed=0, batch_size=1, held_out_share=0.3, held_out=held_out)
        for held_out in (False, True)
    ]
    assert all(isinstance(side, FolderStream) for side in sides)
    trained, held_out = (set(side.paths) for side in sides if isinstance(side, FolderStream))
    assert trained
    assert held_out
    assert not trained & held_out
    assert len(trained | held_out) == 12


def test_shards_are_not_parted(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(b"")
    with pytest.raises(ValueError, match="held_out_share: pictures in shards are not told apart"):
        open_stream(str(tmp_path), seed=0, batch_size=1, held_out_share=0.1)


def test_shards_that_are_held_out_are_not_trained_on_by_whatever_address(tmp_path: Path) -> None:
    for name in ("0.tar", "1.tar", "2.tar"):
        (tmp_path / name).touch()
    of_folder, of_pattern = find(str(tmp_path)), find(f"file://{tmp_path}/[12].tar")
    left = apart(of_folder, of_pattern)
    assert left.shards == [str(tmp_path / "0.tar")]
    assert left.left_out == "held out: 2 of 3 shards are held out and not trained on"
    assert apart(find(str(tmp_path / "0.tar")), of_pattern).left_out == ""
    with pytest.raises(ValueError, match="held_out: all 2 shards to train on are held out"):
        apart(of_pattern, of_folder)
    stored = Found(["s3://bucket/0.tar", "s3://bucket/1.tar"], [], "")
    assert apart(stored, Found(["s3://bucket/1.tar"], [], "")).shards == ["s3://bucket/0.tar"]

"""Streams of encoded pictures: their order, their shares, and that they go on where they stood."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from training.data import found, streams
from training.data.streams import FolderStream, ShardStream, Stream, open_stream

PATHS = [Path(f"{i}.png") for i in range(12)]


def encoded(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def number_of(picture: bytes | Path) -> int:
    assert isinstance(picture, bytes)
    return int(np.array(Image.open(io.BytesIO(picture)))[0, 0, 0])


def numbers(stream: Stream, count: int) -> list[int]:
    return [number_of(next(stream)) for _ in range(count)]


@pytest.fixture(params=["parquet", "parquet-bytes", "webdataset"])
def shards(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Four shards of ten pictures; pixel values number them."""
    for shard in range(4):
        content = [(10 * shard + i, encoded(10 * shard + i)) for i in range(10)]
        if request.param == "webdataset":
            with tarfile.open(tmp_path / f"{shard}.tar", "w") as archive:
                for number, picture in content:
                    for suffix, data in (("png", picture), ("cls", b"1")):
                        entry = tarfile.TarInfo(f"{number:04}.{suffix}")
                        entry.size = len(data)
                        archive.addfile(entry, io.BytesIO(data))
        else:
            struct = request.param == "parquet"
            rows = [
                {"label": 1, "image": {"bytes": picture, "path": None} if struct else picture}
                for _, picture in content
            ]
            pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{shard}.parquet", row_group_size=4)
    return tmp_path


def test_pictures_at_any_depth_are_found_and_other_files_are_not(pictures: Path, tmp_path: Path) -> None:
    stream = open_stream(str(pictures), seed=0, batch_size=1)
    assert isinstance(stream, FolderStream)
    assert len(stream.paths) == 12
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match="pictures: expected a folder with pictures"):
        open_stream(str(tmp_path), seed=0, batch_size=1)


def test_each_epoch_of_a_folder_has_every_picture_once_in_an_order_of_its_own() -> None:
    stream = FolderStream(PATHS, seed=0, batch_size=4)
    first, second = list(islice(iter(lambda: next(stream), None), 12)), [next(stream) for _ in range(12)]
    assert sorted(first) == sorted(second) == sorted(PATHS)
    assert first != second


def test_epochs_run_into_each_other() -> None:
    stream = FolderStream(PATHS[:5], seed=0, batch_size=4)
    assert set(Counter(next(stream) for _ in range(20)).values()) == {4}


@pytest.mark.parametrize("taken", [1, 2, 7, 19, 30])
def test_a_folder_goes_on_where_it_stood(taken: int) -> None:
    whole = FolderStream(PATHS[:7], seed=4, batch_size=3)
    for _ in range(taken):
        next(whole)
    entered = FolderStream(PATHS[:7], seed=4, batch_size=3, state=whole.state())
    assert [next(entered) for _ in range(20)] == [next(whole) for _ in range(20)]


def test_processes_share_a_step_s_pictures_of_a_folder() -> None:
    alone = FolderStream(PATHS, seed=1, batch_size=6)
    shared = [FolderStream(PATHS, seed=1, batch_size=3, rank=rank, world_size=2) for rank in range(2)]
    for _ in range(5):
        step = [next(alone) for _ in range(6)]
        assert [next(stream) for stream in shared for _ in range(3)] == step


def test_each_epoch_of_shards_has_every_picture_once_in_an_order_of_its_own(shards: Path) -> None:
    stream = open_stream(str(shards), seed=3, batch_size=1)
    first, second = numbers(stream, 40), numbers(stream, 40)
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second
    assert first[:10] != sorted(first[:10])


def test_processes_have_shards_of_their_own(shards: Path) -> None:
    shared = [open_stream(str(shards), seed=3, batch_size=1, rank=rank, world_size=2) for rank in range(2)]
    halves = [numbers(stream, 20) for stream in shared]
    assert sorted(halves[0] + halves[1]) == list(range(40))
    with pytest.raises(ValueError, match="at least as many shards as processes, got 4 shards for 5"):
        open_stream(str(shards), seed=3, batch_size=1, world_size=5)


@pytest.mark.parametrize("taken", [0, 1, 6, 7, 33, 40, 41, 77])
def test_shards_go_on_where_they_stood(shards: Path, monkeypatch: pytest.MonkeyPatch, taken: int) -> None:
    monkeypatch.setattr(streams, "BLOCK", 7)  # so that an epoch has several blocks
    whole = open_stream(str(shards), seed=3, batch_size=1)
    numbers(whole, taken)
    entered = open_stream(str(shards), seed=3, batch_size=1, state=whole.state())
    assert numbers(entered, 50) == numbers(whole, 50)


def test_a_pattern_names_shards_wherever_fsspec_reaches(shards: Path) -> None:
    suffix = next(shards.iterdir()).suffix
    stream = open_stream(f"file://{shards}/*{suffix}", seed=3, batch_size=1)
    assert isinstance(stream, ShardStream)
    assert sorted(numbers(stream, 40)) == list(range(40))
    with pytest.raises(ValueError, match="no file is called"):
        open_stream(f"{shards}/none-*{suffix}", seed=3, batch_size=1)


def test_a_folder_that_has_grown_or_shrunk_goes_on_with_what_there_is_and_says_so() -> None:
    stream = FolderStream(PATHS, seed=5, batch_size=2)
    assert stream.changed == ""
    for _ in range(17):
        next(stream)
    for paths in (PATHS[:-1], [*PATHS, Path("12.png")]):
        changed = FolderStream(paths, seed=5, batch_size=2, state=stream.state())
        assert changed.changed.startswith(f"pictures: {len(paths)} pictures, not 12 as when it was saved")
        rest = -17 % len(paths)
        epochs = [next(changed) for _ in range(rest + len(paths))]
        assert len(set(epochs[:rest])) == rest
        assert set(epochs[rest:]) == set(paths)


def test_shards_that_have_become_fewer_go_on_with_the_next_epoch_and_say_so(shards: Path) -> None:
    stream = open_stream(str(shards), seed=3, batch_size=1)
    numbers(stream, 15)
    state = stream.state()
    next(shards.glob("3.*")).unlink()
    changed = open_stream(str(shards), seed=3, batch_size=1, state=state)
    assert changed.changed.startswith("pictures: 3 shards, not 4 as when it was saved")
    assert sorted(numbers(changed, 30)) == list(range(30))
    assert changed.state()["place"]["epoch"] == 1


def test_a_state_of_shards_is_none_of_a_folder(pictures: Path, shards: Path) -> None:
    stream = open_stream(str(shards), seed=3, batch_size=1)
    with pytest.raises(ValueError, match="the run was saved on shards, and this is a folder of pictures"):
        open_stream(str(pictures), seed=3, batch_size=1, state=stream.state())


def test_shards_without_pictures_are_an_error(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(ValueError, match=r"empty\.tar holds none that can be read"):
        next(open_stream(str(tmp_path), seed=0, batch_size=1))
    (tmp_path / "empty.tar").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty\.tar holds none that can be read: empty file"):
        next(open_stream(str(tmp_path), seed=0, batch_size=1))
    (tmp_path / "empty.tar").unlink()
    pq.write_table(pa.table({"label": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="expected a column of pictures, such as image, got label"):
        next(open_stream(str(tmp_path), seed=0, batch_size=1))


def test_an_archive_that_is_cut_is_an_error(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for number in range(10):
            entry = tarfile.TarInfo(f"{number}.png")
            entry.size = len(encoded(number))
            archive.addfile(entry, io.BytesIO(encoded(number)))
    cut = 8 * 2 * tarfile.BLOCKSIZE + tarfile.BLOCKSIZE  # behind the ninth picture's name
    (tmp_path / "0.tar").write_bytes((tmp_path / "0.tar").read_bytes()[:cut])
    with pytest.raises(
        ValueError, match=r"a shard is empty, cut or no \.tar archive \(unexpected end of data"
    ):
        next(open_stream(str(tmp_path), seed=0, batch_size=1))


def test_a_broken_picture_in_an_archive_comes_as_it_is(tmp_path: Path) -> None:
    """Whoever reads it finds that it is none; the stream goes on."""
    pictures = [encoded(0), b"no picture", encoded(2)]
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for number, picture in enumerate(pictures):
            entry = tarfile.TarInfo(f"{number}.png")
            entry.size = len(picture)
            archive.addfile(entry, io.BytesIO(picture))
    stream = open_stream(str(tmp_path), seed=0, batch_size=1)
    got = [next(stream) for _ in range(3)]
    assert got.count(b"no picture") == 1
    assert sorted(number_of(picture) for picture in got if picture != b"no picture") == [0, 2]


def test_folders_are_listed_as_the_service_lists_them(tmp_path: Path) -> None:
    """By their links, without what is hidden, whatever bytes names are made of; the rest is told."""
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    for name in ("a.jpg", "h\udcf6he.png", "._a.jpg", ".cache/b.jpg", "notes.txt", "deep/old.tar"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(1))
    outside.mkdir()
    (outside / "c.jpg").write_bytes(encoded(2))
    (folder / "linked").symlink_to(outside)
    (folder / "again").symlink_to(folder)
    stream = open_stream(str(folder), seed=0, batch_size=1)
    assert isinstance(stream, FolderStream)
    assert stream.paths == [folder / name for name in ("a.jpg", "h\udcf6he.png", "linked/c.jpg")]
    assert stream.left_out == (
        "3 files are no pictures and were left out: 1 .tar, 1 .txt, 1 hidden; 1 folder was left out: 1 .cache"
    )


def test_shards_below_a_folder_without_pictures_are_found_by_links(shards: Path, tmp_path: Path) -> None:
    """As huggingface_hub keeps them: snapshots of links to blobs."""
    with_suffix = sorted(path for path in shards.iterdir() if path.suffix in found.SHARD_KINDS)
    (tmp_path / "blobs").mkdir()
    (tmp_path / "cache/snapshots/0a1b/data").mkdir(parents=True)
    for number, path in enumerate(with_suffix):
        path.rename(tmp_path / f"blobs/{number}")
        (tmp_path / f"cache/snapshots/0a1b/data/{path.name}").symlink_to(tmp_path / f"blobs/{number}")
    (tmp_path / "cache/snapshots/0a1b/README.md").write_text("a card")
    stream = open_stream(str(tmp_path / "cache"), seed=3, batch_size=1)
    assert sorted(numbers(stream, 40)) == list(range(40))
    assert stream.left_out == "1 file is no shard and was left out: 1 .md"


def test_pictures_of_a_row_beside_the_one_that_is_taken_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By WebDataset's rules files are of one sample whose names are the same up to the first dot."""
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for number in range(3):
            entry = tarfile.TarInfo(f"IMG_2023.01.01_{number}.jpg")
            entry.size = len(encoded(number))
            archive.addfile(entry, io.BytesIO(encoded(number)))
    assert numbers(open_stream(str(tmp_path), seed=0, batch_size=1), 3) == [0, 0, 0]
    assert capsys.readouterr().err == (
        "pictures: of each row 01.01_0.jpg is taken, and not 01.01_1.jpg, 01.01_2.jpg\n"
    )

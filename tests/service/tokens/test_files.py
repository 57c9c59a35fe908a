"""What a folder holds: everything by its links once, nothing hidden, and what is left out is counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from service.tokens.files import LeftOut, files_at, pictures_within


def touch(folder: Path, *names: str) -> Path:
    """Files with no bytes, at any depth."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_pictures_come_in_the_order_of_their_folders(tmp_path: Path) -> None:
    names = ["a/1.jpg", "a/b/2.PNG", "a-b/3.tif", "a.jpg", "c.webp"]
    assert pictures_within(touch(tmp_path, *reversed(names)))[0] == sorted(names, key=lambda x: x.split("/"))


LINKS = [
    # what is linked, to where, and the pictures that are found
    ("file", {"b.jpg": "../outside/1.jpg"}, ["b.jpg"]),
    ("folder", {"b": "../outside"}, ["b/1.jpg", "b/deep/2.jpg"]),
    ("link to a link", {"b": "c", "c": "../outside/deep"}, ["b/2.jpg", "c/2.jpg"]),
    ("two links to one folder", {"b": "../outside/deep", "c": "../outside/deep"}, ["b/2.jpg", "c/2.jpg"]),
    ("circle to itself", {"b": "."}, []),
    ("circle to a folder above", {"b": ".."}, ["b/outside/1.jpg", "b/outside/deep/2.jpg"]),
    ("circle of two", {"b": "../outside", "../outside/back": "../folder"}, ["b/1.jpg", "b/deep/2.jpg"]),
    ("picture of another name", {"b.jpg": "../outside/blob"}, ["b.jpg"]),
]


@pytest.mark.parametrize(("links", "found"), [row[1:] for row in LINKS], ids=[row[0] for row in LINKS])
def test_links_are_followed_and_circles_end(tmp_path: Path, links: dict[str, str], found: list[str]) -> None:
    touch(tmp_path, "folder/a.jpg", "outside/1.jpg", "outside/deep/2.jpg", "outside/blob")
    for name, target in links.items():
        (tmp_path / "folder" / name).symlink_to(target)
    names, _ = pictures_within(tmp_path / "folder")
    assert names == ["a.jpg", *found]
    _, sizes = files_at(LocalFileSystem(), str(tmp_path / "folder/**/*.jpg"), LeftOut())
    assert list(sizes) == names


FILES = "files are no pictures and were left out:"
LEFT_OUT = [
    (["a.jpg"], ""),
    (["a.txt"], "1 file is no picture and was left out: 1 .txt"),
    (["1.XMP", "x/2.xmp", "a.txt", "README"], f"4 {FILES} 2 .xmp, 1 .txt, 1 with no suffix"),
    (["._a.jpg", ".DS_Store"], f"2 {FILES} 2 hidden"),
    (["a. B. Smith", "b.jpg~"], f"2 {FILES} 2 with no suffix"),
    ([f"a.{c}" for c in "abcdefghijk"], f"11 {FILES} {', '.join(f'1 .{c}' for c in 'abcdefgh')}, 3 others"),
    (
        [".cache/a.jpg", "x/@eaDir/b.jpg", "y/@eaDir/c.jpg", "_temporary/0/d.jpg", "__MACOSX/._e.jpg"],
        "5 folders were left out: 2 @eaDir, 1 .cache, 1 __MACOSX, 1 _temporary",
    ),
    (
        ["a.txt", ".git/b.jpg"],
        "1 file is no picture and was left out: 1 .txt; 1 folder was left out: 1 .git",
    ),
]


@pytest.mark.parametrize(("names", "line"), LEFT_OUT)
def test_what_is_left_out_is_told_in_a_line(tmp_path: Path, names: list[str], line: str) -> None:
    found, left_out = pictures_within(touch(tmp_path, "_DSC1.jpg", *names))
    assert found == ["_DSC1.jpg"] + (names if not line else [])
    assert left_out.line() == line


def test_links_to_nothing_and_what_is_no_file_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    names, left_out = pictures_within(tmp_path)
    assert names == []
    assert left_out.line().endswith("left out: 2 links to nothing, 1 pipes and devices")


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pictures_within(tmp_path / "nowhere")


STORED = ["a.jpg", "x/b.jpg", "x/notes.txt", "x/y/c.jpg", "x/._b.jpg", ".cache/d.jpg", "x/@eaDir/e.jpg"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("", ["a.jpg", "x/b.jpg", "x/notes.txt", "x/y/c.jpg"]),
        ("/a.jpg", ["a.jpg"]),
        ("/*.jpg", ["a.jpg"]),
        ("/x/*", ["b.jpg", "notes.txt"]),
        ("/*/*.jpg", ["x/b.jpg"]),
        ("/**/*.jpg", ["a.jpg", "x/b.jpg", "x/y/c.jpg"]),
        ("/x/[a-b].???", ["b.jpg"]),
        ("/none*/*.jpg", []),
    ],
)
def test_a_disk_and_a_store_have_the_same_files_at_a_path(
    tmp_path: Path, pattern: str, found: list[str]
) -> None:
    store = MemoryFileSystem()
    for name in STORED:
        store.pipe_file(f"{tmp_path}/{name}", b"12")
    touch(tmp_path, *STORED)
    on_disk, in_store = LeftOut(), LeftOut()
    root, sizes = files_at(LocalFileSystem(), f"{tmp_path}{pattern}", on_disk)
    assert list(sizes) == found
    assert files_at(store, f"{tmp_path}{pattern}", in_store) == (root, dict.fromkeys(found, 2))
    if not pattern:
        assert on_disk == in_store


def test_patterns_follow_links_to_folders(tmp_path: Path) -> None:
    touch(tmp_path, "outside/1.tar", "folder/2.tar")
    (tmp_path / "folder/linked").symlink_to("../outside")
    (tmp_path / "folder/again").symlink_to(".")
    for pattern, found in (("*/*.tar", ["linked/1.tar"]), ("**/*.tar", ["2.tar", "linked/1.tar"])):
        _, sizes = files_at(LocalFileSystem(), f"{tmp_path}/folder/{pattern}", LeftOut())
        assert list(sizes) == found

"""What a folder holds, at any depth and by its links, and what of it is left out.

Everyone who reads folders lists them here, so that they all find the same. A linked folder is entered like
any other, unless it is one that it lies in. What is hidden is not taken: names that begin with a dot, such as
a Mac's `._a.jpg`, and the folders that systems keep for themselves.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from service.tokens.names import escaped
from service.tokens.pictures import SUFFIXES

SYSTEM_FOLDERS = {
    *("@eadir", "@recycle", "#recycle", "#snapshot"),  # Synology's and QNAP's disks
    *("$recycle.bin", "system volume information", "lost+found"),
    *("__macosx", "_temporary", "_delta_log"),  # a Mac's archives, Hadoop's and Spark's tables
}
"""Folders of no pictures of people's, in lower case."""
MOST_KINDS = 8
"""Kinds that a line names."""
LONGEST_SUFFIX = 9
"""Characters of what is taken for a suffix, with its dot, in that line."""


@dataclass
class LeftOut:
    """What a folder holds and is not taken."""

    files: Counter[str] = field(default_factory=Counter)
    """How many of a kind: a suffix, or what else they are."""
    folders: dict[str, str] = field(default_factory=dict)
    """What to call a folder, by its name within the whole."""

    def hides(self, name: str) -> bool:
        """Whether a name is hidden, itself or by a folder above; it is counted then.

        That of a folder ends with a slash.
        """
        parts = name.split("/")
        for i, part in enumerate(parts, 1):
            if is_hidden(part):
                if i < len(parts):
                    self.folders["/".join(parts[:i])] = escaped(part)
                else:
                    self.files["hidden"] += 1
                return True
        return False

    def with_suffix(self, suffixes: Collection[str], names: Iterable[str]) -> list[str]:
        """Those names that end with one of the suffixes, which are in lower case; the others are counted."""
        taken = []
        for name in names:
            suffix = suffix_of(name)
            if suffix in suffixes:
                taken.append(name)
            else:
                is_kind = suffix[1:].isalnum() and len(suffix) <= LONGEST_SUFFIX
                self.files[suffix if is_kind else "with no suffix"] += 1
        return taken

    def line(self, wanted: str = "pictures") -> str:
        """Such as "12 files are no pictures and were left out: 10 .xmp, 2 .txt"; empty where nothing is."""
        files, folders = self.files.total(), len(self.folders)
        told = []
        if files:
            what = f"{files} files are no {wanted} and were"
            what = what if files > 1 else f"1 file is no {wanted.removesuffix('s')} and was"
            told.append(f"{what} left out: {_by_number(self.files)}")
        if folders:
            what = f"{folders} folders were" if folders > 1 else "1 folder was"
            told.append(f"{what} left out: {_by_number(Counter(self.folders.values()))}")
        return "; ".join(told)


def _by_number(kinds: Counter[str]) -> str:
    """The most frequent ones first."""
    ordered = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    rest = sum(count for _, count in ordered[MOST_KINDS:])
    named = [f"{count} {kind}" for kind, count in ordered[:MOST_KINDS]]
    return ", ".join([*named, f"{rest} others"] if rest else named)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of a person's; a path's `.` and `..` are not meant."""
    return (name.startswith(".") and name not in (".", "..")) or name.lower() in SYSTEM_FOLDERS


def suffix_of(name: str) -> str:
    """A name's suffix in lower case, with its dot."""
    return PurePosixPath(name).suffix.lower()


def pictures_within(folder: Path) -> tuple[list[str], LeftOut]:
    """The names of a folder's pictures, at any depth, and what else it holds. Raises `OSError`."""
    left_out = LeftOut()
    return left_out.with_suffix(SUFFIXES, files_within(folder, left_out)), left_out


def files_within(folder: str | Path, left_out: LeftOut, *, depth: int | None = None) -> Iterator[str]:
    """The names of a folder's files, to `depth` folders deep, in the order of their parts.

    A real folder comes once along a path, however its links lead in circles. What is hidden, is no file, or
    can't be opened is counted. Raises `OSError` where `folder` itself can't be opened.
    """
    above = [_identity(folder)]
    open_folders = [_entries(folder, "")]
    while open_folders:
        name, entry = next(open_folders[-1], (None, None))
        if name is None or entry is None:
            open_folders.pop()
            above.pop()
            continue
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link to itself
            is_folder = is_file = False
        if is_hidden(entry.name):
            left_out.hides(f"{name}/" if is_folder else name)
        elif is_file:
            yield name
        elif not is_folder:
            left_out.files["links to nothing" if entry.is_symlink() else "pipes and devices"] += 1
        elif depth is None or len(open_folders) < depth:
            try:
                identity = _identity(entry.path)
                entries = _entries(entry.path, f"{name}/")
            except OSError as error:
                left_out.folders[name] = f"{escaped(entry.name)} ({error.strerror})"
                continue
            if identity not in above:
                above.append(identity)
                open_folders.append(entries)


def _entries(folder: str | Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        return iter(sorted((prefix + entry.name, entry) for entry in entries))


def _identity(folder: str | Path) -> tuple[int, int]:
    found = Path(folder).stat()
    return found.st_dev, found.st_ino


def files_at(store: Any, path: str, left_out: LeftOut) -> tuple[str, dict[str, int]]:
    """The folder that all files at a path are within, and each one's size by its name there, in order.

    `store` is a file system of fsspec's; the path is a folder, a file, or a pattern of files (`a/**/*.tar`).
    Raises `OSError` where storage fails.
    """
    from fsspec.implementations.local import LocalFileSystem

    is_folder = store.isdir(path)
    if not is_folder and store.isfile(path):
        root, _, name = path.rpartition("/")
        return root, {name: store.info(path)["size"]}
    root = path if is_folder else re.split(r"[*?[]", path, maxsplit=1)[0].rpartition("/")[0]
    if isinstance(store, LocalFileSystem):
        names = files_within(root or "/", left_out) if is_folder else _matching(root or "/", path)
        return root, {name: Path(f"{root}/{name}").stat().st_size for name in sorted(names)}
    found = store.find(path, detail=True) if is_folder else store.glob(path, detail=True)
    sizes = {
        name[len(root) :].lstrip("/"): info["size"]
        for name, info in sorted(found.items())
        if info["type"] == "file"
    }
    return root, {name: size for name, size in sizes.items() if not left_out.hides(name)}


def _matching(root: str, pattern: str) -> Iterator[str]:
    """The files within a local folder that a pattern of fsspec's means; itself it stops at linked folders."""
    from fsspec.utils import glob_translate

    if Path(root).is_dir():
        rest = pattern[len(root) :].lstrip("/")
        matches = re.compile(glob_translate(rest)).match
        depth = None if "**" in rest else rest.count("/") + 1
        yield from filter(matches, files_within(root, LeftOut(), depth=depth))

"""Files that appear when they are complete: Parquet tables, written row by row, and any other."""

from __future__ import annotations

import fcntl
import re
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from service.tokens.names import escaped

ROWS_AT_ONCE = 512
"""Rows that are held before they are written as a group."""
PARTIAL = re.compile(r"\.(.+)\.[0-9a-f]+\.partial", re.DOTALL)
"""What a file is called until it is complete."""


@contextmanager
def table(path: Path, schema: pa.Schema) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that adds a row to the Parquet file at `path`. Raises like `written_whole`."""
    rows: list[dict[str, Any]] = []
    clear_killed([path])
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:

        def flush() -> None:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))
            rows.clear()

        def add(row: dict[str, Any]) -> None:
            rows.append(row)
            if len(rows) == ROWS_AT_ONCE:
                flush()

        yield add
        flush()


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` at the end; after an error, what was there before stays.

    Raises `ValueError` where something else than a file is in its place.
    """
    check_place(path)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            with suppress(OSError):  # a file system without locks: nobody will clear it
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def check_place(path: Path) -> None:
    """Raise `ValueError` where a file would take the place of a link, a device or a folder."""
    if path.is_symlink():
        raise ValueError(f"{escaped(str(path))} is a symbolic link: name the file that it leads to")
    if path.exists() and not path.is_file():
        raise ValueError(f"{escaped(str(path))} is no regular file: name another")


def clear_killed(paths: Collection[Path]) -> None:
    """Remove what killed processes have left of these files; what somebody still writes stays."""
    for folder in {path.parent for path in paths}:
        clear_folder(folder, {path.name for path in paths if path.parent == folder})


def clear_folder(folder: Path, names: Collection[str] | None = None) -> None:
    """The same of the files of these names in a folder, or of all in it."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        name = PARTIAL.fullmatch(entry.name)
        if name and (names is None or name[1] in names) and entry.is_file():
            with suppress(OSError), entry.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its writer's, as long as that lives
                entry.unlink()

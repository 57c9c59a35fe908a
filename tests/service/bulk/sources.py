"""What bulk jobs read, written."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_folder(folder: Path, pictures: Mapping[str, bytes]) -> Path:
    """Files at any depth."""
    for name, content in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_parquet(path: Path, pictures: Mapping[str, bytes | None], *, rows_a_group: int) -> Path:
    """A file as Hugging Face has them: structs with bytes; the column `name` has ids."""
    rows = [{"name": name, "image": {"bytes": content, "path": None}} for name, content in pictures.items()]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.Table.from_pylist(rows, pa.schema({"name": pa.string(), "image": kind}))
    pq.write_table(table, path, row_group_size=rows_a_group)
    return path


def write_archive(path: Path, pictures: Mapping[str, bytes]) -> Path:
    """An archive with a text after each picture."""
    with tarfile.open(path, "w") as archive:
        for name, content in pictures.items():
            for member, data in ((name, content), (name.partition(".")[0] + ".txt", b"a caption")):
                entry = tarfile.TarInfo(member)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return path

"""Where a bulk job writes: one table for each shard, whole or not at all, and what the job is.

    job.json                    the job: model, source, options
    parts/000000.parquet        a shard's rows; a shard that has one is done
    errors/000000.parquet       its rows that could not be read: id, code, detail

A resumed job writes the same files again, so nothing is there twice.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from pydantic import ValidationError

from service.bulk.part import Part
from service.bulk.record import Record
from service.bulk.table import clear_folder, written_whole

ERRORS = pa.schema({"id": pa.string(), "code": pa.string(), "detail": pa.string()})


class Destination:
    """A folder, wherever fsspec reaches."""

    def __init__(self, address: str) -> None:
        self._files, path = url_to_fs(address)
        self._folder = path.rstrip("/")
        self._local = isinstance(self._files, LocalFileSystem)
        self.address = self._folder if self._local else address
        """What other processes find it by."""

    def lies_within(self, source: str) -> bool:
        """Whether a source that is a folder has it inside."""
        files, path = url_to_fs(source)
        own = self._folder
        if self._local:
            own, path = os.path.realpath(own), os.path.realpath(path)
        return files == self._files and f"{own}/".startswith(f"{path.rstrip('/')}/")

    def claim(self, record: Record) -> None:
        """Make it the job's own, or find that it is; what a killed job left half done goes.

        Raises `ValueError` where it holds another job.
        """
        path = f"{self._folder}/job.json"
        if self._files.exists(path):
            self._expect(record, self._files.cat_file(path))
        elif self._files.exists(f"{self._folder}/parts"):
            raise ValueError(f"{self.address} has parts and no job.json: name another folder")
        else:
            with self._written("job.json") as file:
                file.write(record.model_dump_json(indent=2).encode())
        if self._local:
            for name in ("", "parts", "errors"):
                clear_folder(Path(self._folder, name))

    def _expect(self, record: Record, found: bytes) -> None:
        try:
            before = Record.model_validate_json(found)
        except ValidationError:
            raise ValueError(
                f"{self.address}/job.json is no job of this version: name another folder"
            ) from None
        for name in Record.model_fields:
            want, got = getattr(before, name), getattr(record, name)
            if want != got:
                raise ValueError(
                    f"{self.address} holds another job, whose {name} is {want!r}, not {got!r}: "
                    + (
                        "the source has changed"
                        if name in ("shards", "digest")
                        else "go on with the same options"
                    )
                    + ", or name another folder"
                )

    def done(self) -> set[int]:
        """Numbers of the shards that are done."""
        return self._numbers("parts")

    def any_failed(self) -> bool:
        """Whether there are rows that could not be read."""
        return bool(self._numbers("errors"))

    @contextmanager
    def part(self, number: int, schema: pa.Schema) -> Iterator[Part]:
        """A shard's rows and errors; it is done at the end, the errors first."""
        with self._written(f"parts/{number:06}.parquet") as file:
            with Part(file, schema) as part:
                yield part
            name = f"errors/{number:06}.parquet"
            if part.errors:
                with self._written(name) as errors:
                    pq.write_table(pa.Table.from_pylist(part.errors, ERRORS), errors)
            elif self._files.exists(f"{self._folder}/{name}"):  # of a try before
                self._files.rm_file(f"{self._folder}/{name}")

    @contextmanager
    def _written(self, name: str) -> Iterator[IO[bytes]]:
        """A file that appears when it is complete: an object store shows none before."""
        path = f"{self._folder}/{name}"
        if self._local:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with written_whole(Path(path)) as file:
                yield file
        else:
            with tempfile.NamedTemporaryFile() as file:
                yield file
                file.flush()
                self._files.put_file(file.name, path)

    def _numbers(self, folder: str) -> set[int]:
        try:
            paths = self._files.ls(f"{self._folder}/{folder}", detail=False, refresh=True)
        except FileNotFoundError:
            return set()
        return {int(Path(path).stem) for path in paths if Path(path).stem.isdigit()}

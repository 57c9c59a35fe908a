"""A shard's pictures, still encoded, each with its id."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs

from service.bulk.shards import Kind, Shard
from service.errors import BadImage, EmptyImage, NoImage, ServiceError
from service.tokens.pictures import SUFFIXES

AT_ONCE = 32
"""Files that are fetched together, and rows that are read together."""
IMAGE_COLUMNS = ("image", "picture", "img", "bytes", "jpg", "jpeg", "png", "webp")
"""Names that a column of pictures is looked for under."""


class UnreadableFile(BadImage):
    """A file that is gone, or what is damaged of a Parquet file or archive."""

    code, title = "unreadable_file", "Unreadable file"


class Row(NamedTuple):
    """A picture's id, and its bytes or why there are none."""

    id: str
    content: bytes | ServiceError


class Reader:
    """Reads shards of a source.

    Ids are names within a folder, keys of a WebDataset archive, and of a Parquet file the values of
    `id_column`, or name:row without one. `image_column` is the column of pictures, of bytes or of a struct
    with bytes, or the extension of an archive's pictures; None looks for one.
    """

    def __init__(
        self, source: str, root: str, kind: Kind, *, image_column: str | None, id_column: str | None
    ) -> None:
        self._files, _ = url_to_fs(source)
        self._root = root
        self._kind = kind
        self._image_column = image_column
        self._id_column = id_column

    def check(self, shard: Shard) -> None:
        """Raise `ValueError` where a Parquet file's columns are not what they should be."""
        if self._kind == "parquet":
            try:
                with self._open(shard) as file:
                    self._columns(pq.ParquetFile(file).schema_arrow, shard.names[0])
            except (OSError, pa.ArrowException):
                return  # what can't be read is a matter of the job

    def rows(self, shard: Shard) -> Iterator[Row]:
        """Every row of a shard, good or bad; each call has the same.

        Raises `OSError` where storage fails, and `ValueError` for a Parquet file with other columns: nothing
        is known of the rows then.
        """
        kinds = {"pictures": self._pictures, "parquet": self._parquet, "webdataset": self._archive}
        return kinds[self._kind](shard)

    def _pictures(self, shard: Shard) -> Iterator[Row]:
        for start in range(0, len(shard.names), AT_ONCE):
            names = shard.names[start : start + AT_ONCE]
            paths = [f"{self._root}/{name}" for name in names]
            contents = self._files.cat_ranges(paths, None, None, on_error="return")
            for name, content in zip(names, contents, strict=True):
                if isinstance(content, FileNotFoundError):
                    content = UnreadableFile("The file is gone.")
                elif isinstance(content, Exception):
                    raise content
                yield Row(name, content)

    def _parquet(self, shard: Shard) -> Iterator[Row]:
        (name,) = shard.names
        try:
            with self._open(shard) as file:
                yield from self._groups(pq.ParquetFile(file), shard)
        except (OSError, pa.ArrowInvalid) as error:
            if not _concerns_file(error):
                raise
            if shard.part == 0:  # it is told once
                yield Row(name, UnreadableFile(f"The Parquet file can't be read: {error}"))

    def _groups(self, file: pq.ParquetFile, shard: Shard) -> Iterator[Row]:
        """The rows of this shard's row groups."""
        (name,) = shard.names
        image, key = self._columns(file.schema_arrow, name)
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        first, last = (len(sizes) * part // shard.parts for part in (shard.part, shard.part + 1))
        row = sum(sizes[:first])
        for group in range(first, last):
            end = row + sizes[group]
            try:
                for batch in file.iter_batches(
                    AT_ONCE, row_groups=[group], columns=[image] + ([key] if key else [])
                ):
                    ids = batch[key].to_pylist() if key else range(row, row + len(batch))
                    for each, value in zip(ids, batch[image].to_pylist(), strict=True):
                        content = value.get("bytes") if isinstance(value, dict) else value
                        yield Row(
                            str(each) if key else f"{name}:{each}",
                            EmptyImage("The row has no picture.") if content is None else content,
                        )
                    row += len(batch)
            except OSError as error:
                if not _concerns_file(error):
                    raise
                yield Row(f"{name}:{row}-{end - 1}", UnreadableFile(f"The rows can't be read: {error}"))
            row = end

    def _columns(self, schema: pa.Schema, name: str) -> tuple[str, str | None]:
        """The columns of pictures and of ids. Raises `ValueError`."""
        wanted = [self._image_column] if self._image_column else IMAGE_COLUMNS
        image = next((column for column in wanted if column in schema.names), None)
        if image is None or not _holds_bytes(schema.field(image).type):
            raise ValueError(
                f"{name}: expected a column {' or '.join(wanted)} of bytes, or of a struct with bytes, "
                f"got {', '.join(f'{field.name} ({field.type})' for field in schema)}: see --image-column"
            )
        if self._id_column not in (None, *schema.names):
            raise ValueError(
                f"{name}: expected a column {self._id_column} of ids, got {', '.join(schema.names)}"
            )
        return image, self._id_column

    def _archive(self, shard: Shard) -> Iterator[Row]:
        (name,) = shard.names
        key = None
        try:
            with self._open(shard) as file, tarfile.open(fileobj=file, mode="r:") as archive:
                members = (member for member in archive if member.isfile())
                for key, sample in groupby(members, lambda member: _split(member.name)[0]):
                    yield Row(key, self._picture(archive, sample))
                _expect_end(file, archive.offset)
        except (FileNotFoundError, tarfile.TarError) as error:
            place = "" if key is None else f" after {key}"
            yield Row(name, UnreadableFile(f"The archive can't be read{place}: {error}"))

    def _picture(self, archive: tarfile.TarFile, sample: Iterator[tarfile.TarInfo]) -> bytes | ServiceError:
        """The first picture among the files of a key."""
        for member in sample:
            extension = _split(member.name)[1]
            if self._image_column is None:
                fits = PurePosixPath(member.name).suffix.lower() in SUFFIXES
            else:
                fits = extension == self._image_column.lower().lstrip(".")
            if fits:
                content = archive.extractfile(member)
                assert content is not None
                return content.read()
        return NoImage("The sample has no picture.")

    def _open(self, shard: Shard) -> Any:
        return self._files.open(f"{self._root}/{shard.names[0]}", "rb")


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _concerns_file(error: Exception) -> bool:
    """Whether a file is at fault and not the way to it: it is gone, or damaged.

    Arrow tells of damage by a plain `OSError`; those of files have a number or a type of their own.
    """
    plain = type(error) is OSError and error.errno is None
    return plain or isinstance(error, FileNotFoundError | pa.ArrowInvalid)


def _split(name: str) -> tuple[str, str]:
    """Key and extension of an archive's file: its name up to the first point, and what follows."""
    folder, slash, base = name.rpartition("/")
    key, _, extension = base.partition(".")
    return folder + slash + key, extension.lower()


def _expect_end(file: Any, offset: int) -> None:
    """Raise `tarfile.ReadError` where an archive goes on with no header: `tarfile` ends without a word."""
    file.seek(offset)
    if any(block := file.read(tarfile.BLOCKSIZE)) or 0 < len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"expected a header at byte {offset}")

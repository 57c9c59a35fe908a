"""A shard's pictures, still encoded, each with its id."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs

from service.bulk.shards import Kind, Shard
from service.errors import BadImage, EmptyImage, NoImage, ServiceError
from service.tokens.files import is_hidden, suffix_of
from service.tokens.names import escaped, unescaped
from service.tokens.pictures import SUFFIXES

AT_ONCE = 32
"""Files that are fetched together, and rows that are read together."""
MOST_NAMED = 5
"""Extensions that an error names."""
OF_A_SAMPLE = (
    "The sample {key} has a picture before this one: a key ends at a name's first dot. Name the extension of "
    "one as --image-column, or pack the files under names without more dots."
)
IMAGE_COLUMNS = ("image", "picture", "img", "bytes", "jpg", "jpeg", "png", "webp")
"""Names that a column of pictures is looked for under."""


class UnreadableFile(BadImage):
    """A file that is gone, or what is damaged of a Parquet file or archive."""

    code, title = "unreadable_file", "Unreadable file"


class OtherPicture(BadImage):
    """One more picture of a WebDataset sample, which has one vector."""

    code, title = "other_picture", "Another picture of a sample"


class Row(NamedTuple):
    """A picture's id, and its bytes or why there are none."""

    id: str
    content: bytes | ServiceError


class Reader:
    """Reads shards of a source.

    Ids are names within a folder, keys of a WebDataset archive, and of a Parquet file the values of
    `id_column`, or name:row where there is none; all as `escaped` has them. `image_column` is the column of
    pictures, of bytes or of a struct with bytes, or the extension of an archive's pictures; None looks for
    one.
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
            paths = [self._path(name) for name in names]
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
                    ids = _ids(batch[key]) if key else [None] * len(batch)
                    for i, (own, value) in enumerate(zip(ids, batch[image].to_pylist(), strict=True), row):
                        content = value.get("bytes") if isinstance(value, dict) else value
                        yield Row(
                            f"{name}:{i}" if own is None else own,
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
            with (
                self._open(shard) as file,
                tarfile.open(fileobj=file, mode="r:", encoding="utf-8") as archive,
            ):
                members = (member for member in archive if member.isfile() and _is_of_sample(member.name))
                for key, sample in groupby(members, lambda member: _split(member.name)[0]):
                    yield from self._sample(archive, escaped(key), sample)
                _expect_end(file, archive.offset)
                if key is None:
                    yield Row(name, NoImage("The archive has no samples: expected files such as KEY.jpg."))
        except (FileNotFoundError, tarfile.TarError) as error:
            place = "" if key is None else f" after {escaped(key)}"
            yield Row(name, UnreadableFile(f"The archive can't be read{place}: {error}"))

    def _sample(self, archive: tarfile.TarFile, key: str, sample: Iterable[tarfile.TarInfo]) -> Iterator[Row]:
        """The first picture among the files of a key, and under their own names those that are none's."""
        wanted = None if self._image_column is None else self._image_column.lower().lstrip(".")
        found, others = False, []
        for member in sample:
            extension = _split(member.name)[1]
            if not (suffix_of(member.name) in SUFFIXES if wanted is None else extension == wanted):
                others.append(escaped(extension))
            elif found:
                yield Row(escaped(member.name), OtherPicture(OF_A_SAMPLE.format(key=key)))
            else:
                content = archive.extractfile(member)
                assert content is not None
                yield Row(key, content.read())
                found = True
        if not found:
            more = ", …" if len(others) > MOST_NAMED else ""
            has = ", ".join(f".{extension}" for extension in others[:MOST_NAMED]) + more
            yield Row(
                key, NoImage(f"The sample has no {f'file .{wanted}' if wanted else 'picture'}, but {has}.")
            )

    def _open(self, shard: Shard) -> Any:
        return self._files.open(self._path(shard.names[0]), "rb")

    def _path(self, name: str) -> str:
        return f"{self._root}/{unescaped(name)}"


def _ids(column: pa.Array) -> list[str | None]:
    """Values as text: bytes are read as UTF-8, and so are strings, which need not be what they say."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    return [None if value is None else _text(value) for value in column.to_pylist()]


def _text(value: object) -> str:
    return escaped(value.decode("utf-8", "surrogateescape")) if isinstance(value, bytes) else str(value)


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


def _is_of_sample(name: str) -> bool:
    """Whether an archive's file belongs to a sample: it has an extension and is not hidden."""
    return bool(_split(name)[1]) and not any(map(is_hidden, name.split("/")))


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

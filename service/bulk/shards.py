"""What a bulk job reads, cut into shards: the same source has the same shards, whoever lists it.

A folder's pictures go into shards together, a large Parquet file into several by its row groups, and a
WebDataset archive is one. Files are listed wherever fsspec reaches; none is opened.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from fsspec.core import url_to_fs

from service.tokens.files import LeftOut, files_at, suffix_of
from service.tokens.names import escaped
from service.tokens.pictures import SUFFIXES

Kind = Literal["pictures", "parquet", "webdataset"]
KINDS: dict[str, Kind] = {
    **dict.fromkeys(SUFFIXES, "pictures"),
    ".parquet": "parquet",
    ".tar": "webdataset",
}
WANTED: dict[Kind, str] = {"pictures": "pictures", "parquet": "Parquet files", "webdataset": "archives"}
"""What people call them."""
MAX_FILES = 4096
"""Most pictures of a folder in a shard."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A piece of the source that is done as a whole."""

    number: int
    names: Sequence[str]
    """Pictures, or one Parquet file or archive, within the source; escaped, as ids have them."""
    part: int = 0
    parts: int = 1
    """Of the row groups of its Parquet file it has this of so many equal parts."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A source's shards."""

    root: str
    """Path, in the source's file system, of the folder that the names are within."""
    address: str
    """The same with its protocol, escaped, and without credentials."""
    kind: Kind
    shards: Sequence[Shard]
    digest: str
    """SHA-256 of all shards and of their files' sizes."""
    left_out: str
    """A line on what else the source holds, if anything."""


def plan(source: str, shard_bytes: int) -> Plan:
    """The shards of about `shard_bytes` of a folder at any depth, a file, or a pattern of files (`a/*.tar`).

    Raises `ValueError` where there is nothing to read, or files of several kinds.
    """
    files, path = url_to_fs(source)
    shown = escaped(source)
    left_out = LeftOut()
    root, found = files_at(files, path.rstrip("/"), left_out)
    sizes = {escaped(name): found[name] for name in left_out.with_suffix(KINDS, found)}
    kinds = sorted({KINDS[suffix_of(name)] for name in sizes})
    if not kinds:
        also = f"; {left_out.line()}" if left_out.line() else ""
        raise ValueError(
            f"{shown} has nothing to read: expected pictures ({', '.join(sorted(SUFFIXES))}), "
            f".parquet or .tar files{also}"
        )
    if len(kinds) > 1:
        raise ValueError(
            f"{shown}: expected files of one kind, got {' and '.join(kinds)}: name one by a pattern, "
            f"such as '{shown.rstrip('/')}/*{suffix_of(min(sizes))}'"
        )
    (kind,) = kinds
    shards = list(_cut(kind, sizes, shard_bytes))
    digest = hashlib.sha256()
    for shard in shards:
        digest.update(json.dumps([asdict(shard), [sizes[name] for name in shard.names]]).encode())
    return Plan(
        root=root,
        address=escaped(files.unstrip_protocol(root)),
        kind=kind,
        shards=shards,
        digest=digest.hexdigest(),
        left_out=left_out.line(WANTED[kind]),
    )


def _cut(kind: Kind, sizes: dict[str, int], shard_bytes: int) -> Iterator[Shard]:
    number = 0
    if kind == "pictures":
        names: list[str] = []
        held = 0
        for name, size in sizes.items():
            if names and (held + size > shard_bytes or len(names) == MAX_FILES):
                yield Shard(number=number, names=names)
                number, names, held = number + 1, [], 0
            names.append(name)
            held += size
        yield Shard(number=number, names=names)
        return
    for name, size in sizes.items():
        parts = max(1, math.ceil(size / shard_bytes)) if kind == "parquet" else 1
        for part in range(parts):
            yield Shard(number=number, names=[name], part=part, parts=parts)
            number += 1

"""What a folder of pictures holds, or a pattern of shards names."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from service.tokens.files import LeftOut, files_at, files_within, suffix_of
from service.tokens.names import escaped
from service.tokens.pictures import SUFFIXES

SHARD_KINDS = {".parquet": "parquet", ".tar": "webdataset"}
"""What `datasets` calls the shards of a suffix."""


class Found(NamedTuple):
    """Shards by their addresses, or pictures, and a line on what else there is."""

    shards: list[str]
    paths: list[Path]
    left_out: str


def find(pictures: str) -> Found:
    """What a folder holds, or shards that a pattern names.

    Of a folder that is shards that lie in it directly, or else pictures at any depth, or else shards.

    Raises `ValueError` for shards of several kinds, and for a pattern that names none.
    """
    from fsspec.core import url_to_fs

    left_out, paths = LeftOut(), list[Path]()
    if Path(pictures).is_dir():
        names = list(files_within(pictures, left_out))
        below = [name for name in names if suffix_of(name) in SHARD_KINDS]
        shards = [name for name in below if "/" not in name]
        if not shards:
            paths = [Path(pictures, name) for name in names if suffix_of(name) in SUFFIXES]
            shards = [] if paths else below
        taken = {*shards, *(path.relative_to(pictures).as_posix() for path in paths)}
        left_out.with_suffix((), (name for name in names if name not in taken))
        shards = [str(Path(pictures, name)) for name in shards]
    elif suffix_of(pictures) in SHARD_KINDS:
        store, pattern = url_to_fs(pictures)
        root, sizes = files_at(store, pattern, left_out)
        shards = [store.unstrip_protocol(f"{root}/{name}") for name in sizes]
        if not shards:
            raise ValueError(f"pictures: no file is called {escaped(pictures)}")
    else:
        shards = []
    if len({suffix_of(address) for address in shards}) > 1:
        raise ValueError(
            f"pictures: expected shards of one kind, got .parquet and .tar in {escaped(pictures)}"
        )
    return Found(sorted(shards), paths, left_out.line("shards" if shards else "pictures"))

"""Pictures that are held out of training: a share, told by names so that they stay the same, or others."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from training.data.found import Found

HASH_BYTES = 8
LEAST = 2
"""Pictures that are held out at least: some losses compare pictures with each other."""


def split(paths: list[Path], folder: str, share: float) -> tuple[list[Path], list[Path]]:
    """The pictures to train on, and a share of them, in [0, 1], that are held out: two at least.

    A picture stays on its side where others come or go.
    Raises `ValueError` where none is left to train on.
    """
    places = {path: _place(path, folder) for path in paths}
    least = set(sorted(paths, key=places.__getitem__)[:LEAST])
    held_out = [path for path in paths if places[path] < share or path in least]
    others = [path for path in paths if places[path] >= share and path not in least]
    if not others:
        raise ValueError(
            f"held_out_share: of {len(paths)} pictures none is left to train on; expected more pictures, "
            f"or a share below {share}"
        )
    return others, held_out


def apart(found: Found, held_out: Found) -> Found:
    """What there is to train on without the files and shards that are held out, and a line on how many.

    A file is the same by whatever name or link. Raises `ValueError` where none is left to train on.
    """
    files, shards = {_identity(path) for path in held_out.paths}, {_shard(name) for name in held_out.shards}
    left = Found(
        [shard for shard in found.shards if _shard(shard) not in shards],
        [path for path in found.paths if _identity(path) not in files],
        found.left_out,
    )
    kept, of = len(left.shards) + len(left.paths), len(found.shards) + len(found.paths)
    if kept == of:
        return found
    what = "shards" if found.shards else "pictures"
    if not kept:
        raise ValueError(
            f"held_out: all {of} {what} to train on are held out; expected others, or none by name and "
            "training.held_out_share"
        )
    line = f"held out: {of - kept} of {of} {what} are held out and not trained on"
    return left._replace(left_out="\n".join(filter(None, (found.left_out, line))))


def _shard(address: str) -> tuple[int, int] | str:
    """What is the same for two addresses of one shard, as far as can be told."""
    path = Path(address.removeprefix("file://"))
    return _identity(path) if path.exists() else address


def _identity(path: Path) -> tuple[int, int]:
    """Device and inode."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _place(path: Path, folder: str) -> float:
    """Uniform in [0, 1), by the path below the folder."""
    name = os.fsencode(path.relative_to(folder).as_posix())
    digest = hashlib.blake2b(name, digest_size=HASH_BYTES).digest()
    return int.from_bytes(digest) / 2.0 ** (8 * HASH_BYTES)

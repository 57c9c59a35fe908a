"""Pictures of a folder that are held out of training: told by their names, so that they stay the same."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

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


def _place(path: Path, folder: str) -> float:
    """Uniform in [0, 1), by the path below the folder."""
    name = os.fsencode(path.relative_to(folder).as_posix())
    digest = hashlib.blake2b(name, digest_size=HASH_BYTES).digest()
    return int.from_bytes(digest) / 2.0 ** (8 * HASH_BYTES)

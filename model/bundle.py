"""A bundle's folder: what its manifest lists, the version that follows from it, and how it appears whole."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model.digest import sha256

MANIFEST = "bundle.json"
CONTENT = ("files", "precision", "statistics")
"""Fields of the manifest that make its version, where they are there."""


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """An empty folder, which takes the place of `out` at the end; after an error, what was there stays."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch) / "bundle"
        folder.mkdir()
        yield folder
        folder.chmod(0o755)
        if out.exists():
            out.rename(Path(scratch) / "before")
        folder.rename(out)


def files_of(folder: Path) -> dict[str, dict[str, Any]]:
    """The manifest's `files`: SHA-256 and bytes of all in a folder but the manifest."""
    paths = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    return {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size} for path in paths}


def version_of(manifest: Mapping[str, Any]) -> str:
    """The beginning of the SHA-256 of what the bundle is made of; see `docs/inside/bundle.md`."""
    content = json.dumps({key: manifest[key] for key in CONTENT if key in manifest}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def write_manifest(manifest: Mapping[str, Any], folder: Path) -> None:
    """Write `bundle.json`."""
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder whose files are those that it lists.

    Raises `ValueError` where there is none, or a file is missing or damaged, and `OSError`.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{folder}: expected a bundle's folder, but it has no {MANIFEST}") from None
    except ValueError as error:
        raise ValueError(f"{folder / MANIFEST} is no manifest: {error}") from None
    try:
        listed, found, version = manifest["files"], files_of(folder), version_of(manifest)
        for name, entry in listed.items():
            if found.get(name) != entry:
                raise ValueError(f"{folder / name} is missing or damaged: export the bundle again")
        if manifest["version"] != version:
            raise ValueError(
                f"{folder / MANIFEST}: version: expected {version} of its content, "
                f"got {manifest['version']}: export it again"
            )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / MANIFEST} is no manifest: {error} is missing or odd") from None
    return manifest

"""Bundles and checkpoints in a repository on the Hugging Face Hub: pushed with a card, pulled by its name.

A bundle's files keep their names; a checkpoint is `model.safetensors`, as the hub's own libraries have it.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError

from model.bundle import MANIFEST, read_manifest, replacing
from model.card import bundle_card, checkpoint_card
from model.hub import DownloadError, commit_of, fetch, reason

CARD, CHECKPOINT = "README.md", "model.safetensors"
GRAPHS = {"encoder.onnx", "decoder.onnx"}
FILES = GRAPHS | {f"{graph}.data" for graph in GRAPHS} | {"reference.safetensors", "statistics.safetensors"}
"""What a bundle may have beside its manifest; no other file of a stranger's repository is fetched."""


class PushError(RuntimeError):
    """What could not be pushed; the message says why, and what to do."""


def push(path: Path, repository: str, *, private: bool = False, licence: str | None = None) -> str:
    """Upload a bundle's folder or a checkpoint (.safetensors), with a card, as one commit; its address.

    The repository is made where there is none, `private` or not. `licence` is of a checkpoint's weights; a
    bundle has its own in the manifest.

    Raises `PushError`, `ValueError` for what is neither, and `OSError`.
    """
    if path.is_dir():
        manifest = read_manifest(path)
        files = {name: path / name for name in (MANIFEST, *manifest["files"])}
        card = bundle_card(manifest, repository)
    else:
        if path.suffix != ".safetensors":
            raise ValueError(f"{path}: expected a bundle's folder or a .safetensors checkpoint")
        from model.checkpoint import load_checkpoint  # only now: bundles need no PyTorch

        files = {CHECKPOINT: path}
        card = checkpoint_card(dataclasses.asdict(load_checkpoint(path).config), repository, licence)
    additions = [CommitOperationAdd(name, file) for name, file in files.items()]
    additions.append(CommitOperationAdd(CARD, card.encode()))
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        return str(api.create_commit(repository, additions, commit_message=f"Push {path.name}").commit_url)
    except (HfHubHTTPError, httpx2.HTTPError) as error:
        raise PushError(f"{repository}: {reason(error, repository, None)}") from error
    except RuntimeError as error:  # of a file's upload
        raise PushError(f"{repository}: {error} {error.__cause__ or ''}: try again") from error


def pull(repository: str, out: Path, *, revision: str | None = None) -> Path:
    """Fetch a bundle to `out`/NAME, or a checkpoint to `out`/NAME.safetensors: verified, or not at all.

    Raises `DownloadError`, `ValueError` and `OSError`.
    """
    name = repository.rpartition("/")[2]
    try:
        manifest = fetch(repository, MANIFEST, revision=revision)
    except DownloadError as error:
        if not isinstance(error.__cause__, RemoteEntryNotFoundError):
            raise
        weights = fetch(repository, CHECKPOINT, revision=revision)
        from model.checkpoint import load_checkpoint

        load_checkpoint(weights)
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out, prefix=f".{name}-") as scratch:
            whole = Path(shutil.copyfile(weights, Path(scratch) / CHECKPOINT))
            return whole.replace(out / f"{name}.safetensors")
    if (out / name).exists() and not (out / name / MANIFEST).is_file():
        raise ValueError(f"{out / name}: expected a bundle's folder to replace, or none, got something else")
    at = commit_of(manifest)
    with replacing(out / name) as folder:
        shutil.copyfile(manifest, folder / MANIFEST)
        for file in sorted(_listed(manifest) & FILES):
            shutil.copyfile(fetch(repository, file, revision=at), folder / file)
        read_manifest(folder)
    return out / name


def _listed(manifest: Path) -> set[str]:
    """The names of the files that a fetched manifest lists. Raises `ValueError`."""
    try:
        return set(dict(json.loads(manifest.read_bytes())["files"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{manifest} is no manifest: expected the bundle's files, got {error}") from error

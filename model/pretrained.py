"""PyTorch models as the hub's own libraries keep them: a folder or a repository with a `model.safetensors`.

Not by huggingface_hub's mixin: that writes the architecture a second time, beside weights whose shapes tell
it, and checks no hash.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub.errors import RemoteEntryNotFoundError

from model import shared
from model.bundle import MANIFEST
from model.checkpoint import load_checkpoint, save_checkpoint
from model.hub import DownloadError, fetch
from model.published import NAMES, fetch_weights
from model.stellar import Stellar


def load(source: str | Path, *, revision: str | None = None) -> Stellar:
    """The model of a folder or a checkpoint, of a repository OWNER/NAME, or of a published name.

    `revision` is a branch, tag or commit of a repository.

    Raises `DownloadError`, `CheckpointError`, `FileNotFoundError`, and `ValueError` for none of these.
    """
    path = Path(source)
    if not str(source):
        raise ValueError(f"the name is empty: {_EXPECTED}")
    if path.is_file():
        return load_checkpoint(path)
    if path.is_dir():
        if (path / MANIFEST).is_file():
            raise ValueError(f"{path} is a bundle, whose graphs only serve: {_EXPECTED}")
        return load_checkpoint(path / shared.CHECKPOINT)
    if source in NAMES:
        return fetch_weights(str(source), revision=revision).model
    if str(source).count("/") != 1:
        raise ValueError(f"there is no {source}: {_EXPECTED}")
    try:
        return load_checkpoint(fetch(str(source), shared.CHECKPOINT, revision=revision))
    except DownloadError as error:
        if isinstance(error.__cause__, RemoteEntryNotFoundError):
            raise DownloadError(
                f"{error}; a bundle, whose graphs only serve, is had by `stellar-model pull`"
            ) from error
        raise


_EXPECTED = f"expected a folder with {shared.CHECKPOINT}, OWNER/NAME on the hub, or one of {', '.join(NAMES)}"


def save(model: Stellar, folder: Path) -> None:
    """Write `folder`/model.safetensors. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(model, folder / shared.CHECKPOINT)


def push(model: Stellar, repository: str, *, private: bool, licence: str | None) -> str:
    """Upload a model with a card; its address. Raises `PushError`."""
    with TemporaryDirectory() as folder:
        save(model, Path(folder))
        return shared.push(Path(folder, shared.CHECKPOINT), repository, private=private, licence=licence)

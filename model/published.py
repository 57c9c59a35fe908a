"""The published weights by name: fetched from the Hugging Face Hub, or from its cache, and verified.

Where the cache is, whether to stay offline, the token and a mirror are told by the hub's own variables
(HF_HOME, HF_HUB_OFFLINE, HF_TOKEN, HF_ENDPOINT).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import httpx2
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from model.checkpoint import TokenizerMissing, load_checkpoint
from model.digest import sha256
from model.stellar import Stellar
from model.tensor_file import CheckpointError

REPOSITORY = "microsoft/STELLAR"
NAMES = ("stellar-b16", "stellar-l16", "stellar-h16", "stellar-b8", "stellar-b24")
VQGAN_REPOSITORY, VQGAN_FILE = "fun-research/TiTok", "maskgit-vqgan-imagenet-f16-256.bin"
TOKEN = "the token (HF_TOKEN, or `hf auth login`)"  # noqa: S105 (a sentence's part)


class DownloadError(RuntimeError):
    """Weights that could not be had; the message says why, and what to do."""


class Weights(NamedTuple):
    """A published model."""

    model: Stellar
    checkpoint: Path
    source: dict[str, str]
    """Repository and commit of each file it came from."""


def fetch_weights(name: str, *, revision: str | None = None) -> Weights:
    """The model called `name`, and the VQGAN from its own repository where the checkpoint has none.

    `revision` is a branch, tag or commit of the STELLAR repository.

    Raises `DownloadError`.
    """
    if name not in NAMES:
        raise DownloadError(f"no model {name!r} is published: expected one of {', '.join(NAMES)}")
    checkpoint = fetch(REPOSITORY, f"{name}.safetensors", revision=revision)
    source = {"repository": f"{REPOSITORY}@{_commit(checkpoint)}"}
    try:
        try:
            return Weights(load_checkpoint(checkpoint), checkpoint, source)
        except TokenizerMissing:
            vqgan = fetch(VQGAN_REPOSITORY, VQGAN_FILE)
            source["vqgan"] = f"{VQGAN_REPOSITORY}@{_commit(vqgan)}"
            return Weights(load_checkpoint(checkpoint, vqgan), checkpoint, source)
    except CheckpointError as error:
        raise DownloadError(f"{', '.join(source.values())}: {error}") from error


def fetch(repository: str, file: str, *, revision: str | None = None) -> Path:
    """A file of a repository in the cache, where it is put if need be. Its content is what the hub hashed.

    A connection that breaks is taken up again where it broke.

    Raises `DownloadError`.
    """
    try:
        path = Path(hf_hub_download(repository, file, revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx2.HTTPError, OSError) as error:
        raise DownloadError(f"{repository}: {file}: {_reason(error, repository, revision)}") from error
    _verify(path.resolve())
    return path


def _reason(error: Exception, repository: str, revision: str | None) -> str:
    hub = constants.ENDPOINT
    match error:
        case RevisionNotFoundError():
            return f"there is no revision {revision!r}; {hub}/{repository}/commits lists them"
        case RemoteEntryNotFoundError():
            return f"there is no such file in revision {revision or 'main'!r}"
        case GatedRepoError():
            return f"accept the terms at {hub}/{repository} first, and give {TOKEN} of that account"
        case RepositoryNotFoundError():
            return (
                f"{hub} shows no such repository; if it is private, give {TOKEN} of an account that sees it"
            )
        case HfHubHTTPError() if error.response.status_code in (401, 403):
            return f"{hub} does not accept {TOKEN}: got {error.response.status_code}"
        case HfHubHTTPError():
            return f"{hub} answered {error.response.status_code}: try again later"
        case LocalEntryNotFoundError() if constants.is_offline_mode():
            return f"not in the cache ({constants.HF_HUB_CACHE}), and HF_HUB_OFFLINE is set: try once online"
        case LocalEntryNotFoundError() | httpx2.HTTPError():
            return (
                f"{hub} can't be reached ({error.__cause__ or error}): "
                "look at network and proxy, or name a mirror in HF_ENDPOINT"
            )
        case OSError() if error.errno is not None:
            return (
                f"can't be written to {constants.HF_HUB_CACHE} ({error.strerror}): "
                "make room, or name another folder in HF_HOME"
            )
    return str(error)


def _verify(blob: Path) -> None:
    """The cache names large files by their SHA-256; the client itself has only counted the bytes."""
    if not re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return
    found = sha256(blob)
    if found != blob.name:
        raise DownloadError(
            f"{blob} is damaged: expected SHA-256 {blob.name[:12]}…, got {found[:12]}…; remove it, try again"
        )


def _commit(path: Path) -> str:
    """Where the cache keeps a file: …/snapshots/COMMIT/FILE."""
    return path.parent.name

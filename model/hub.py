"""Files of the Hugging Face Hub: fetched, or from its cache, and verified; and what its errors mean.

Where the cache is, whether to stay offline, the token and a mirror are told by the hub's own variables
(HF_HOME, HF_HUB_OFFLINE, HF_TOKEN, HF_ENDPOINT).
"""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

import httpx2
from filelock import FileLock
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from model.digest import sha256

ABANDONED_S = 300
"""What wrote nothing for so long is no download: some network disks' locks are had by everybody."""
TOKEN = "the token (HF_TOKEN, or `hf auth login`)"  # noqa: S105 (a sentence's part)


class DownloadError(RuntimeError):
    """A file or weights that could not be had; the message says why, and what to do."""


def fetch(repository: str, file: str, *, revision: str | None = None) -> Path:
    """A file of a repository in the cache, where it is put if need be. Its content is what the hub hashed.

    A connection that breaks is taken up again where it broke. What killed downloads left is removed: the
    client never goes on with it.

    Raises `DownloadError`.
    """
    _clear(repository)
    try:
        path = Path(hf_hub_download(repository, file, revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx2.HTTPError, OSError) as error:
        raise DownloadError(f"{repository}: {file}: {reason(error, repository, revision)}") from error
    _verify(path.resolve())
    return path


def reason(error: Exception, repository: str, revision: str | None) -> str:
    """What the hub's client has met, in a sentence that says what to do."""
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


def _clear(repository: str) -> None:
    """Remove the parts of files that no living process writes: those have the lock of the file's hash."""
    folder = repo_folder_name(repo_id=repository, repo_type="model")
    cache = Path(constants.HF_HUB_CACHE)
    for part in (cache / folder / "blobs").glob("*.incomplete"):
        lock = cache / ".locks" / folder / f"{part.name.partition('.')[0]}.lock"
        with contextlib.suppress(OSError, NotImplementedError), FileLock(lock, timeout=0, mode=0o664):
            if time.time() - part.stat().st_mtime > ABANDONED_S:
                part.unlink()


def _verify(blob: Path) -> None:
    """The cache names large files by their SHA-256; the client itself has only counted the bytes."""
    if not re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return
    found = sha256(blob)
    if found != blob.name:
        raise DownloadError(
            f"{blob} is damaged: expected SHA-256 {blob.name[:12]}…, got {found[:12]}…; remove it, try again"
        )


def commit_of(path: Path) -> str:
    """Where the cache keeps a file: …/snapshots/COMMIT/FILE."""
    return path.parent.name

"""The published weights by name, from the Hugging Face Hub or its cache."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from model.checkpoint import TokenizerMissing, load_checkpoint
from model.hub import DownloadError, commit_of, fetch
from model.stellar import Stellar
from model.tensor_file import CheckpointError

REPOSITORY = "microsoft/STELLAR"
NAMES = ("stellar-b16", "stellar-l16", "stellar-h16", "stellar-b8", "stellar-b24")
VQGAN_REPOSITORY, VQGAN_FILE = "fun-research/TiTok", "maskgit-vqgan-imagenet-f16-256.bin"


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
    source = {"repository": f"{REPOSITORY}@{commit_of(checkpoint)}"}
    try:
        try:
            return Weights(load_checkpoint(checkpoint), checkpoint, source)
        except TokenizerMissing:
            vqgan = fetch(VQGAN_REPOSITORY, VQGAN_FILE)
            source["vqgan"] = f"{VQGAN_REPOSITORY}@{commit_of(vqgan)}"
            return Weights(load_checkpoint(checkpoint, vqgan), checkpoint, source)
    except CheckpointError as error:
        raise DownloadError(f"{', '.join(source.values())}: {error}") from error

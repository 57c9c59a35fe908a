"""`stellar-model download`, through the hub's real client, from a small hub of our own."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from huggingface_hub.constants import DOWNLOAD_CHUNK_SIZE as CHUNK_BYTES
from safetensors.torch import load_file, save_file

from model import Stellar, get_preset, save_checkpoint
from model.digest import sha256
from model.published import NAMES, REPOSITORY, VQGAN_FILE, VQGAN_REPOSITORY, Weights, fetch_weights
from service.runtime.bundle import read_bundle
from tests.model.hub import TOKEN, Hub, commit, having, stellar_model_here

pytestmark = pytest.mark.long

FILE = "stellar-b16.safetensors"
WEIGHTS = f"/{REPOSITORY}/resolve/main/{FILE}"
VQGAN = f"/{VQGAN_REPOSITORY}/resolve/main/{VQGAN_FILE}"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small VQ model in the published layout; b8 holds the tokenizer, b16 does not."""
    folder = tmp_path_factory.mktemp("published")
    weights, tokenizer = folder / REPOSITORY / "main", folder / VQGAN_REPOSITORY / "main"
    weights.mkdir(parents=True)
    tokenizer.mkdir(parents=True)
    torch.manual_seed(0)
    model = Stellar(get_preset("debug", depth=1, head="vq", vqgan_channels=32, image_size=32, patch_size=16))
    save_checkpoint(model, weights / "stellar-b8.safetensors")
    tensors = load_file(weights / "stellar-b8.safetensors")
    own = {key: tensors.pop(key) for key in list(tensors) if key.startswith("tokenizer.")}
    save_file(tensors, weights / FILE)
    torch.save(
        {key.removeprefix("tokenizer."): tensor for key, tensor in own.items()}, tokenizer / VQGAN_FILE
    )
    return folder


@pytest.fixture
def hub(published: Path) -> Iterator[Hub]:
    with Hub(published) as hub:
        yield hub


class Person:
    """Somebody with a cache and a folder of models."""

    def __init__(self, home: Path, hub: Hub) -> None:
        self.cache = home / "cache"
        self.models = home / "models"
        self._variables = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        self._variables |= {"HF_HOME": str(self.cache), "HF_ENDPOINT": hub.url, "COLUMNS": "200"}

    def downloads(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """By a process of its own, as a person runs it."""
        command = [sys.executable, "-m", "model.cli", *self._download(*arguments)]
        environment = self._variables | variables
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def fetches_here(self, name: str, **variables: str) -> Weights:
        with having(self._variables | variables):
            return fetch_weights(name)

    def _download(self, *arguments: str) -> list[str]:
        return ["download", *arguments, "--out", str(self.models)]

    def is_told(self, *arguments: str, **variables: str) -> str:
        """The error of a download, which must be one sentence and leave no bundle."""
        failed = stellar_model_here(*self._download(*arguments), variables=self._variables | variables)
        assert failed.exit_code == 1, failed.stdout
        assert "Traceback" not in failed.stderr
        assert not self.models.exists()
        return " ".join(failed.stderr.partition("error:")[2].split())


@pytest.fixture
def person(tmp_path: Path, hub: Hub) -> Person:
    return Person(tmp_path, hub)


def test_weights_become_a_bundle_that_says_where_they_are_from(
    person: Person, hub: Hub, published: Path
) -> None:
    """Though the connection breaks: it goes on where it broke."""
    hub.cut_after = CHUNK_BYTES + 1000
    # Bars also where there is no terminal.
    done = person.downloads("stellar-b16", HF_TOKEN=TOKEN, TQDM_POSITION="-1")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{FILE}: 100%", done.stderr)
    content = f"/content/{sha256(published / VQGAN_REPOSITORY / 'main' / VQGAN_FILE)}"
    assert [line for line in hub.asked if content in line] == [
        f"GET {content}",
        f"GET {content} bytes={CHUNK_BYTES}-",
    ]
    manifest = read_bundle(person.models / "stellar-b16").manifest
    assert (manifest.name, manifest.precision, manifest.head) == ("stellar-b16", "fp32", "vq")
    assert manifest.source == {
        "checkpoint": FILE,
        "sha256": sha256(published / REPOSITORY / "main" / FILE),
        "repository": f"{REPOSITORY}@{commit(REPOSITORY, 'main')}",
        "vqgan": f"{VQGAN_REPOSITORY}@{commit(VQGAN_REPOSITORY, 'main')}",
    }
    hub.asked.clear()
    hub.down = True  # the cache is enough
    again = person.fetches_here("stellar-b16", HF_HUB_OFFLINE="1")
    assert again.source.items() < manifest.source.items()
    assert sha256(again.checkpoint) == manifest.source["sha256"]
    assert hub.asked == []
    decoder = ort.InferenceSession(person.models / "stellar-b16/decoder.onnx")
    tokens = {
        "semantics": np.zeros((2, 4, 64), np.float32),
        "localization": np.full((2, 4, 4), 0.25, np.float32),
    }
    (image,) = decoder.run(None, tokens)
    assert image.shape == (2, 32, 32, 3)


def test_weights_with_their_tokenizer_need_no_other_repository(person: Person, hub: Hub) -> None:
    """They are loaded, and then refused for their name, which the precision ends: both without an export."""
    told = person.is_told("stellar-b8", "--precision", "fp 8")
    assert told.startswith("name: expected letters, digits, '.', '_' and '-', got 'stellar-b8-fp 8'")
    assert len([line for line in hub.asked if "content" in line]) == 1
    assert not any(VQGAN_REPOSITORY in line for line in hub.asked)


def test_unknown_name_lists_the_names(person: Person, hub: Hub) -> None:
    told = person.is_told("stellar-b17")
    assert told == f"no model 'stellar-b17' is published: expected one of {', '.join(NAMES)}"
    assert hub.asked == []


def test_refusals_of_the_hub_say_what_to_do(person: Person, hub: Hub) -> None:
    assert "there is no revision 'v9'" in person.is_told("stellar-b16", "--revision", "v9")
    assert "there is no such file in revision 'main'" in person.is_told("stellar-l16")
    wrong = person.is_told("stellar-b16", HF_TOKEN="hf_wrong")
    assert f"{hub.url} does not accept the token (HF_TOKEN, or `hf auth login`): got 401" in wrong
    hub.gated = True
    assert f"accept the terms at {hub.url}/{REPOSITORY} first" in person.is_told("stellar-b16")
    hub.gated, hub.private = False, True
    assert f"{hub.url} shows no such repository" in person.is_told("stellar-b16")


def test_without_network_or_cache_it_says_so(person: Person, published: Path) -> None:
    told = person.is_told("stellar-b16", HF_HUB_OFFLINE="1")
    assert f"{FILE}: not in the cache ({person.cache}/hub), and HF_HUB_OFFLINE is set" in told
    told = person.is_told("stellar-b16", HF_ENDPOINT="http://127.0.0.1:1")
    assert "http://127.0.0.1:1 can't be reached" in told
    assert "HF_ENDPOINT" in told


def test_damaged_content_is_found_and_fetched_again_once_removed(person: Person, hub: Hub) -> None:
    hub.damages = True
    told = person.is_told("stellar-b8")
    assert "is damaged: expected SHA-256" in told
    assert "is damaged" in person.is_told("stellar-b8", HF_HUB_OFFLINE="1")
    Path(told.partition(" is damaged")[0]).unlink()
    person.is_told("stellar-b8")
    assert len([line for line in hub.asked if "content" in line]) == 2


def test_full_disk_is_named(person: Person) -> None:
    """A limit on the size of files is met at the same place as a disk's end."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        told = person.is_told("stellar-b8")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"can't be written to {person.cache}/hub (File too large): make room" in told


def test_other_weights_under_a_published_name_are_refused(person: Person, hub: Hub, tmp_path: Path) -> None:
    other = tmp_path / "other" / REPOSITORY / "main"
    other.mkdir(parents=True)
    save_file({"weight": torch.zeros(2)}, other / FILE)
    hub.folder = tmp_path / "other"
    assert "missing key sparse_tokens: is this a STELLAR checkpoint?" in person.is_told("stellar-b16")

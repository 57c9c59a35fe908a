"""`stellar-model push` and `pull`, through the hub's real client, to and from a small hub of our own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import Result

from model import Stellar, get_preset, save_checkpoint
from service.runtime.bundle import read_bundle
from service.settings import BUNDLED_MODELS
from tests.model.hub import TOKEN, Hub, stellar_model_here

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # the hub's client uploads so
]

BUNDLE = BUNDLED_MODELS / "stellar-tiny"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(tmp_path / "hub") as hub:
        yield hub


class Person:
    """Somebody with a token, a cache and a folder of models."""

    def __init__(self, home: Path, hub: Hub) -> None:
        self.models = home / "models"
        self._variables = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        self._variables |= {"HF_HOME": str(home / "cache"), "HF_ENDPOINT": hub.url, "COLUMNS": "200"}
        self._variables |= {"HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}

    def runs(self, *arguments: str) -> str:
        """What Python prints, in a process of its own."""
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=self._variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def push(self, path: Path, repository: str, *options: str) -> None:
        done = self._does_here("push", str(path), repository, *options)
        assert done.exit_code == 0, done.stderr

    def pull(self, repository: str) -> Path:
        """What it has made."""
        done = self._does_here("pull", repository, "--out", str(self.models))
        assert done.exit_code == 0, done.stderr
        return Path(done.stdout.strip())

    def is_told(self, *arguments: str, **variables: str) -> str:
        """The error, which must be one sentence."""
        failed = self._does_here(*arguments, **variables)
        assert failed.exit_code == 1, failed.stdout
        assert "Traceback" not in failed.stderr
        return " ".join(failed.stderr.partition("error:")[2].split())

    def _does_here(self, *arguments: str, **variables: str) -> Result:
        return stellar_model_here(*arguments, variables=self._variables | variables)


@pytest.fixture
def person(tmp_path: Path, hub: Hub) -> Person:
    return Person(tmp_path, hub)


def test_bundle_comes_back_as_it_went_with_a_card_beside_it(person: Person, hub: Hub) -> None:
    """By processes of their own, as a person runs them."""
    address = person.runs("-m", "model.cli", "push", str(BUNDLE), "me/stars")
    assert address.startswith(f"{hub.url}/me/stars/commit/")
    card = (hub.folder / "me/stars/main/README.md").read_text()
    manifest = read_bundle(BUNDLE).manifest
    assert card.startswith("---\nlicense: mit\n")
    assert f"| version | {manifest.version} |" in card
    assert f"| psnr_db | {manifest.quality['psnr_db']:.4g} |" in card
    assert "stellar-model pull me/stars" in card
    told = person.runs("-m", "model.cli", "pull", "me/stars", "--out", str(person.models))
    pulled = Path(told.strip())
    assert pulled == person.models / "stars"
    assert {file.name: file.read_bytes() for file in pulled.iterdir()} == {
        file.name: file.read_bytes() for file in BUNDLE.iterdir()
    }
    assert [file.name for file in person.models.iterdir()] == ["stars"]
    (pulled / "bundle.json").rename(pulled / "mine")
    told = person.is_told("pull", "me/stars", "--out", str(person.models))
    assert told == f"{pulled}: expected a bundle's folder to replace, or none, got something else"
    assert (pulled / "mine").exists()


def test_checkpoint_comes_back_as_it_went(person: Person, hub: Hub, tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.safetensors"
    torch.manual_seed(0)
    save_checkpoint(Stellar(get_preset("debug", image_size=32, patch_size=16)), checkpoint)
    person.push(checkpoint, "me/mine", "--licence", "Apache-2.0")
    card = (hub.folder / "me/mine/main/README.md").read_text()
    assert "license: apache-2.0" in card
    assert "| image_size | 32 |" in card
    pulled = person.pull("me/mine")
    assert pulled == person.models / "mine.safetensors"
    assert pulled.read_bytes() == checkpoint.read_bytes()


RESEARCHER = """
import re
import sys
from pathlib import Path
from model import Stellar
from model.hub import DownloadError

pushed, home, hub = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
card = (hub / pushed / "main/README.md").read_text()
exec(re.search("```python\\n(.*?)```", card, re.DOTALL)[1])
assert isinstance(model, Stellar) and not model.training
model.save_pretrained(home / "folder")
again = Stellar.from_pretrained(home / "folder")
print(again.push_to_hub("me/again", licence="mit"))
for odd in ("me/stars", "me/nothing", "nothing", ""):
    try:
        Stellar.from_pretrained(odd)
    except (DownloadError, ValueError) as error:
        print(error)
"""


def test_models_are_had_and_shared_from_python(person: Person, hub: Hub, tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.safetensors"
    torch.manual_seed(0)
    save_checkpoint(Stellar(get_preset("debug", image_size=32, patch_size=16)), checkpoint)
    person.push(checkpoint, "me/mine")
    hub.write("me/stars", "bundle.json", (BUNDLE / "bundle.json").read_bytes())
    told = person.runs("-c", RESEARCHER, "me/mine", str(tmp_path), str(hub.folder))
    address, bundle, nowhere, nothing, empty = told.splitlines()
    assert (tmp_path / "folder/model.safetensors").read_bytes() == checkpoint.read_bytes()
    assert address.startswith(f"{hub.url}/me/again/commit/")
    assert (hub.folder / "me/again/main/README.md").read_text().startswith("---\nlicense: mit\n")
    assert person.pull("me/again").read_bytes() == checkpoint.read_bytes()
    assert bundle.endswith("a bundle, whose graphs only serve, is had by `stellar-model pull`")
    assert nowhere.startswith(f"me/nothing: model.safetensors: {hub.url} shows no such repository")
    assert nothing.startswith("there is no nothing: expected a folder with model.safetensors, OWNER/NAME")
    assert empty.startswith("the name is empty: expected a folder with model.safetensors, OWNER/NAME")


def test_push_without_a_token_that_may_write_says_what_to_do(person: Person, hub: Hub) -> None:
    told = person.is_told("push", str(BUNDLE), "me/stars", HF_TOKEN="hf_wrong")
    assert told.startswith("me/stars: ")
    assert "the token (HF_TOKEN, or `hf auth login`)" in told
    assert not (hub.folder / "me").exists()


def test_what_is_not_whole_is_neither_pushed_nor_pulled(person: Person, hub: Hub, tmp_path: Path) -> None:
    broken = shutil.copytree(BUNDLE, tmp_path / "broken")
    (broken / "decoder.onnx").write_bytes(b"")
    assert "decoder.onnx is missing or damaged" in person.is_told("push", str(broken), "me/broken")
    assert not hub.folder.exists()
    for name in ("bundle.json", "encoder.onnx"):
        hub.write("me/broken", name, (BUNDLE / name).read_bytes())
    told = person.is_told("pull", "me/broken", "--out", str(person.models))
    assert "me/broken: decoder.onnx: there is no such file" in told
    assert not list(person.models.iterdir())


def test_files_that_no_bundle_has_are_not_fetched(person: Person, hub: Hub) -> None:
    manifest = json.loads((BUNDLE / "bundle.json").read_text())
    manifest["files"] = {"model.py": {"sha256": "0" * 64, "bytes": 1}}
    hub.write("me/odd", "bundle.json", json.dumps(manifest).encode())
    hub.write("me/odd", "model.py", b"#")
    assert "model.py is missing or damaged" in person.is_told("pull", "me/odd", "--out", str(person.models))
    assert not [line for line in hub.asked if "model.py" in line]
    assert not list(person.models.iterdir())


def test_repository_without_a_model_is_told(person: Person, hub: Hub) -> None:
    hub.write("me/empty", "README.md", b"nothing")
    told = person.is_told("pull", "me/empty", "--out", str(person.models))
    assert told == "me/empty: model.safetensors: there is no such file in revision 'main'"

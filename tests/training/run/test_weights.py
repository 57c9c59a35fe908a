"""Weights by a model's name: the bundled one's from the tree, the published ones' from a small hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from model import Stellar, get_preset, save_checkpoint
from model.published import REPOSITORY
from tests.model.hub import Hub, having
from training.cli import app
from training.recipes import NAMED
from training.run.weights import read_weights

PUBLISHED = get_preset("debug", head="vq", vqgan_channels=32, image_size=32, patch_size=16)
"""A small model that a hub of the tests has as stellar-b8."""
SETTINGS = (
    *("model.head=vq", "model.vqgan_channels=32", "model.image_size=32", "model.patch_size=16"),
    *("training.mask_ratio=0.5", "training.final_learning_rate=0"),
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What such a hub has."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / REPOSITORY / "main").mkdir(parents=True)
    torch.manual_seed(0)
    save_checkpoint(Stellar(PUBLISHED), folder / REPOSITORY / "main" / "stellar-b8.safetensors")
    return folder


def test_a_run_starts_from_published_weights_by_their_name(
    published: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with Hub(published) as hub:
        variables = {"HF_HOME": str(tmp_path / "cache"), "HF_ENDPOINT": hub.url}
        command = ["run", "--init", "stellar-b8", "--out", str(out)]
        command += ["--pictures", str(pictures), "--preset", "debug", "--steps", "1", "--learning-rate", "0"]
        command += [word for setting in SETTINGS for word in ("--set", setting)]
        with having(variables):
            done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.stderr
    before = load_file(published / REPOSITORY / "main" / "stellar-b8.safetensors")
    after = load_file(out / "checkpoint.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
    assert 'init = "stellar-b8"' in (out / "config.toml").read_text()
    assert json.loads((out / "metrics.jsonl").read_text())["loss"] > 0


def test_the_bundled_model_has_a_name() -> None:
    assert read_weights("stellar-tiny").config == get_preset("tiny")
    assert NAMED == ("stellar-b8", "stellar-b16", "stellar-b24", "stellar-l16", "stellar-h16", "stellar-tiny")


def test_what_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="no file is called /nowhere; expected a checkpoint, or one of stellar"
    ):
        read_weights("/nowhere")
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(ValueError, match="is a bundle, whose graphs only serve; expected a checkpoint"):
        read_weights(str(tmp_path))

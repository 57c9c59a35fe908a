"""The best weights of a run that goes on with other settings."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.tensor_file import read_metadata, read_tensors, write_tensors
from tests.training.run.test_validation import CPU, LOSSES, lines, run_config
from training.run.best import NOTE
from training.run.trainer import Trainer


@pytest.fixture(scope="module")
def begun(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps, the best of which are the last."""
    folder = tmp_path_factory.mktemp("begun")
    assert Trainer(run_config(pictures, steps=3), folder, CPU).run()
    return folder


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> Path:
    """The same, to go on with."""
    return Path(shutil.copytree(begun, tmp_path / "run"))


def go_on(folder: Path, pictures: Path, **overrides: object) -> str:
    """Three more steps, which only do harm, and what was told of the best."""
    settings = {"steps": 6, "learning_rate": 1.0, "warmup_share": 0.0} | overrides
    trainer = Trainer(run_config(pictures, **settings), folder, CPU)
    trainer.run()
    assert trainer.validation is not None
    return trainer.validation.told


def test_the_best_notes_its_step_and_its_losses(begun: Path) -> None:
    noted = json.loads(read_metadata(begun / "best.safetensors")[NOTE])
    last = lines(begun)[-1]
    assert noted["step"] == last["step"] == 3
    assert noted["losses"] == {name: last[name] for name in ("reconstruction", "koleo")}


def test_the_best_is_judged_by_the_weights_that_losses_now_have(folder: Path, pictures: Path) -> None:
    """By a hundredth of the weights any total is below what it was."""
    best, (*_, last) = (folder / "best.safetensors").read_bytes(), lines(folder)
    told = go_on(folder, pictures, losses=replace(LOSSES, reconstruction=0.1, koleo=0.001))
    loss = 0.1 * last["reconstruction"] + 0.001 * last["koleo"]
    assert told == f"best.safetensors, of step 3, has a loss of {loss:.4f} as losses now weigh"
    assert loss < lines(folder)[-1]["loss"] < last["loss"]
    assert (folder / "best.safetensors").read_bytes() == best
    assert go_on(folder, pictures, losses=LOSSES, steps=7) == ""


@pytest.mark.parametrize(
    ("overrides", "other"),
    [
        ({"losses": replace(LOSSES, sharpness=0.1)}, "losses.sharpness"),
        ({"global_scale": (0.9, 1.0), "held_out_pictures": 3}, "held_out_pictures, global_scale"),
    ],
)
def test_where_losses_cannot_be_compared_the_best_is_looked_for_anew_and_the_one_before_kept(
    folder: Path, pictures: Path, overrides: dict[str, object], other: str
) -> None:
    best = (folder / "best.safetensors").read_bytes()
    assert go_on(folder, pictures, **overrides) == (
        f"best.safetensors, of step 3, was judged by other {other}; the best is looked for anew, "
        "and that one will be best.previous.safetensors"
    )
    assert (folder / "best.previous.safetensors").read_bytes() == best
    assert json.loads(read_metadata(folder / "best.safetensors")[NOTE])["step"] == 6


@pytest.mark.parametrize("note", [{}, {NOTE: "{"}, {NOTE: "[]"}, {NOTE: '{"step": 3, "losses": 5}'}])
def test_a_best_that_does_not_say_how_it_was_judged_is_kept_as_the_one_before(
    folder: Path, pictures: Path, note: dict[str, str]
) -> None:
    path = folder / "best.safetensors"
    write_tensors(read_tensors(path), path, note)
    told = go_on(folder, pictures)
    assert told.startswith("best.safetensors does not say how it was judged; the best is looked for anew")
    kept = read_tensors(folder / "best.previous.safetensors")
    assert not torch.equal(kept["sparse_tokens"], read_tensors(path)["sparse_tokens"])

"""What a run tells of held-out pictures, and which weights it keeps as the best."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model import get_preset, load_checkpoint
from training.config import RunConfig
from training.loss_weights import LossWeights
from training.recipes import get_recipe
from training.run.processes import Processes
from training.run.trainer import Trainer

CPU = Processes(0, 1, torch.device("cpu"))
LOSSES = LossWeights().only("reconstruction", "koleo")


def run_config(pictures: Path, **overrides: object) -> RunConfig:
    settings: dict[str, Any] = {"held_out_share": 0.3, "validate_every": 3, "losses": LOSSES} | overrides
    recipe = get_recipe("debug", **settings)
    return RunConfig(pictures=str(pictures), model=get_preset("debug"), training=recipe)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "validation.jsonl").read_text().splitlines()]


def weights(checkpoint: Path) -> dict[str, Tensor]:
    return load_checkpoint(checkpoint).state_dict()


def same(one: Path, other: Path) -> bool:
    wanted = weights(other)
    return all(torch.equal(tensor, wanted[name]) for name, tensor in weights(one).items())


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight steps, looked at after every third."""
    folder = tmp_path_factory.mktemp("whole")
    assert Trainer(run_config(pictures), folder, CPU).run()
    return folder


def test_held_out_pictures_are_looked_at_before_during_and_after(whole: Path) -> None:
    told = lines(whole)
    assert [line["step"] for line in told] == [0, 3, 6, 8]
    assert all(line.keys() == {"step", "loss", "reconstruction", "koleo"} for line in told)
    for line in told:
        assert line["loss"] == pytest.approx(10 * line["reconstruction"] + 0.1 * line["koleo"])
    assert told[-1]["loss"] < told[0]["loss"]


def test_looking_changes_nothing(whole: Path, pictures: Path, tmp_path: Path) -> None:
    assert Trainer(run_config(pictures, validate_every=100), tmp_path, CPU).run()
    assert [line["step"] for line in lines(tmp_path)] == [0, 8]
    assert same(tmp_path / "checkpoint.safetensors", whole / "checkpoint.safetensors")


def test_the_best_weights_are_kept_though_later_ones_are_worse(pictures: Path, tmp_path: Path) -> None:
    good = run_config(pictures, steps=3)
    Trainer(good, tmp_path, CPU).run()
    kept = tmp_path / "kept.safetensors"
    (tmp_path / "checkpoint.safetensors").rename(kept)
    wild = replace(good, training=replace(good.training, steps=6, learning_rate=1.0, warmup_share=0.0))
    Trainer(wild, tmp_path, CPU).run()
    told = {line["step"]: line["loss"] for line in lines(tmp_path)}
    assert told[3] < told[0] < told[6]
    assert same(tmp_path / "best.safetensors", kept)
    assert not same(tmp_path / "checkpoint.safetensors", kept)


def test_a_run_that_lost_steps_looks_again_at_what_it_does_again(
    whole: Path, pictures: Path, tmp_path: Path
) -> None:
    """A state is saved after steps 3, 4, 6 and 8: the one before the last is of step 6."""
    config = run_config(pictures)
    assert Trainer(config, tmp_path, CPU).run()
    (tmp_path / "state.pt").unlink()
    (tmp_path / "best.safetensors").unlink()
    again = Trainer(config, tmp_path, CPU)
    assert again.progress.step == 6
    assert again.run()
    assert lines(tmp_path) == lines(whole)
    assert same(tmp_path / "best.safetensors", whole / "best.safetensors")


def test_pictures_of_another_folder_are_looked_at_and_all_of_the_first_are_trained_on(
    pictures: Path, tmp_path: Path
) -> None:
    others = tmp_path / "others"
    shutil.copytree(pictures / "more", others)
    config = replace(run_config(pictures, held_out_share=0.0, steps=1), held_out=str(others))
    trainer = Trainer(config, tmp_path / "run", CPU)
    assert trainer.run()
    assert trainer.stream.state()["pictures"] == 12
    assert [line["step"] for line in lines(tmp_path / "run")] == [0, 1]
    with pytest.raises(ValueError, match="held_out_share: the run names pictures that are held out"):
        replace(run_config(pictures), held_out="/others")
    with pytest.raises(
        ValueError, match=r"held_out: pictures: expected a folder with pictures .* got .*nowhere"
    ):
        Trainer(replace(config, held_out=str(tmp_path / "nowhere")), tmp_path / "other", CPU)


def test_no_batch_has_fewer_pictures_than_losses_compare(pictures: Path, tmp_path: Path) -> None:
    losses = LossWeights(numbering=1.0).only("reconstruction", "numbering")
    settings = {"losses": losses, "batch_size": 2, "held_out_share": 0.5}
    for count, sizes in ((2, [2]), (3, [2]), (4, [2, 2]), (5, [2, 2])):
        config = run_config(pictures, **settings, held_out_pictures=count, steps=1)
        trainer = Trainer(config, tmp_path / f"{count}", CPU)
        assert trainer.validation is not None
        assert [len(batch.pixels) for batch in trainer.validation.batches] == sizes
    with pytest.raises(ValueError, match="batch_size: the loss numbering compares pictures; expected 2"):
        run_config(pictures, losses=losses, batch_size=1)


def test_without_held_out_pictures_there_is_nothing_to_look_at(pictures: Path, tmp_path: Path) -> None:
    Trainer(run_config(pictures, held_out_share=0.0, steps=1), tmp_path, CPU).run()
    assert not (tmp_path / "validation.jsonl").exists()
    assert not (tmp_path / "best.safetensors").exists()

"""`stellar-train finetune`: which model is trained, by which recipe, and that it gets better."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from model import Stellar, get_preset, load_checkpoint, save_checkpoint
from training.cli import app
from training.config_file import load_config
from training.loss_weights import LossWeights
from training.recipes import VQ_LOSSES
from training.run.finetuning import finetuned, gentle
from training.run.learnt import told


def stellar_train(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def held_out(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "validation.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def start(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of five tokens that has learnt for a while."""
    out = tmp_path_factory.mktemp("start") / "run"
    done = stellar_train(
        *("run", "--preset", "debug", "--pictures", pictures, "--out", out, "--steps", "60"),
        *("--set", "model.num_sparse_tokens=5", "--set", "training.log_every=60", "--reconstruction-only"),
    )
    assert done.exit_code == 0, done.stderr
    return out / "checkpoint.safetensors"


def test_a_checkpoint_gets_better_at_pictures_that_it_was_not_tuned_on(
    start: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = stellar_train(
        *("finetune", "--from", start, "--pictures", pictures, "--out", out, "--steps", "20"),
        *("--batch-size", "8", "--set", "training.held_out_share=0.3", "--set", "training.validate_every=10"),
    )
    assert done.exit_code == 0, done.stderr
    assert "step 0/20 · held out: loss " in done.stdout
    assert re.search(r"^memory: [\d.]+ GiB at most, on cpu$", done.stdout, re.MULTILINE)
    first, _, last = held_out(out)
    assert last["loss"] < first["loss"]
    assert last["reconstruction"] < first["reconstruction"]
    config = load_config(out)
    assert config.model == load_checkpoint(start).config == load_checkpoint(out / "best.safetensors").config
    assert (config.init, config.training.layer_decay) == (str(start), 0.75)
    on = stellar_train("run", "--out", out, "--resume", "--steps", "21")
    assert on.exit_code == 0, on.stderr
    assert [line["step"] for line in held_out(out)] == [0, 10, 20, 21]


def test_a_run_goes_on_though_what_it_began_from_is_gone(start: Path, pictures: Path, tmp_path: Path) -> None:
    weights, out = tmp_path / "weights.safetensors", tmp_path / "run"
    weights.write_bytes(start.read_bytes())
    begun = stellar_train(
        *("finetune", "--from", weights, "--pictures", pictures, "--out", out, "--steps", "1"),
        *("--batch-size", "2", "--set", "model.num_sparse_tokens=7"),
    )
    assert begun.exit_code == 0, begun.stderr
    weights.unlink()
    on = stellar_train("run", "--out", out, "--resume", "--steps", "2")
    assert on.exit_code == 0, on.stderr
    assert f"{out}: step 1 of 2" in on.stdout
    assert "added at random" not in on.stderr
    (out / "state.pt").unlink()
    lost = stellar_train("run", "--out", out, "--resume", "--steps", "3")
    assert lost.exit_code == 0, lost.stderr  # by the state before
    for state in out.glob("state*.pt"):
        state.unlink()
    failed = stellar_train("run", "--out", out, "--resume", "--steps", "4")
    assert failed.stderr.startswith(f"error: init: no file is called {weights}")


def test_options_and_settings_are_over_the_recipe(start: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("training.learning_rate = 1e-5\ntraining.steps = 9\n")
    done = stellar_train(
        *("finetune", "--from", start, "--pictures", pictures, "--held-out", pictures / "more"),
        *("--out", tmp_path / "run", "--config", tmp_path / "own.toml", "--steps", "1"),
        *("--layer-decay", "0.5", "--frozen-layers", "1", "--batch-size", "2"),
    )
    assert done.exit_code == 0, done.stderr
    config, training = load_config(tmp_path / "run"), load_config(tmp_path / "run").training
    assert (config.held_out, training.held_out_share) == (str(pictures / "more"), 0.0)
    assert (training.learning_rate, training.steps) == (1e-5, 1)
    assert (training.layer_decay, training.frozen_layers, training.batch_size) == (0.5, 1, 2)


def test_another_size_and_more_tokens_are_said_and_trained(
    start: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = stellar_train(
        *("finetune", "--from", start, "--pictures", pictures, "--out", out, "--steps", "1"),
        *("--batch-size", "2", "--set", "model.image_size=[48,24]", "--set", "model.num_sparse_tokens=7"),
    )
    assert done.exit_code == 0, done.stderr
    told = "init: positions resized from 4 × 4 to 6 × 3 patches, 2 tokens added at random"
    assert told in done.stderr.splitlines()
    model = load_checkpoint(out / "checkpoint.safetensors").config
    assert (model.image_size, model.num_sparse_tokens) == ((48, 24), 7)
    config = load_config(out)
    assert config.model == model
    # 40 for the longer side, as 48 is to 32, and 16 for the area.
    assert (config.training.picture_size, config.training.local_size) == (60, 16)


def test_the_recipe_is_that_of_the_preset_that_the_model_is_like() -> None:
    published = gentle(get_preset("h16"))
    assert (published.losses, published.local_size, published.masked_views) == (VQ_LOSSES, 98, 8)
    assert (published.layer_decay, published.bf16, published.activation_checkpointing) == (0.75, True, True)
    assert gentle(get_preset("tiny", num_sparse_tokens=8)).masked_views == 2
    other = gentle(get_preset("b16", width=384, num_heads=6, image_size=448, head="pixel"))
    assert (other.losses, other.local_size, other.picture_size) == (LossWeights(), 192, 1024)


def test_the_bundled_model_goes_on_with_its_own_losses_and_published_ones_with_the_recipes() -> None:
    run = finetuned({"pictures": "/photos", "init": "stellar-tiny"})
    assert (run.model, run.training.steps) == (get_preset("tiny"), 1000)
    assert (run.training.losses.reconstruction, run.training.losses.clustering) == (150.0, 0.0)
    assert told(run).startswith("losses as stellar-tiny learnt: reconstruction 150, ")
    published = replace(run, init="stellar-b16")
    assert told(published) == "losses: stellar-b16 does not say how it weighed them; they are the recipe's"


def test_a_step_that_takes_too_much_memory_says_what_takes_less(
    start: Path, pictures: Path, tmp_path: Path
) -> None:
    given = ("finetune", "--from", start, "--pictures", pictures, "--out", tmp_path, "--steps", "1")
    settings = ("--set", "training.losses.local_cls=1", "--set", f"training.local_crops={10**12}")
    failed = stellar_train(*given, *settings)
    assert failed.exit_code == 1
    assert failed.stderr.startswith("error: a step takes more memory than cpu has; to go on with less: ")
    on = stellar_train("run", "--out", tmp_path, "--resume", "--set", "training.local_crops=1")
    assert on.exit_code == 0, on.stderr


def test_a_setting_is_judged_by_the_losses_that_there_are() -> None:
    """The bundled model learnt without masked views, and may be as small as four patches."""
    start = {"pictures": "/photos", "init": "stellar-tiny"}
    assert finetuned({**start, "model": {"image_size": 16}}).training.losses.masked == 0.0
    alone = {"model": {"num_sparse_tokens": 1}, "training": {"losses": {"koleo": 0.0}}}
    assert finetuned({**start, **alone}).model.num_sparse_tokens == 1


def test_mistakes_are_one_sentence_and_leave_nothing(start: Path, pictures: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_checkpoint(Stellar(get_preset("debug")), tmp_path / "random.safetensors")
    given = ("finetune", "--pictures", pictures, "--out", tmp_path / "run", "--from")
    for arguments, expected in (
        ((*given, "stellar-b17"), "init: no file is called "),
        ((*given, pictures), f"{pictures} is a folder: name the file in it"),
        ((*given, start, "--vqgan", tmp_path / "none"), "vqgan: no file is called "),
        ((*given, start, "--out", start), f"--out: {start} is a file; name a folder"),
        ((*given, start, "--frozen-layers", "3"), "frozen_layers: expected at most the encoder's 2, got 3"),
        ((*given, start, "--layer-decay", "0"), "layer_decay: expected a number above 0"),
        ((*given, start, "--set", "training.frozen=decoder"), "frozen: expected tuple, got 'decoder'"),
        (
            (*given, start, "--held-out", tmp_path / "none"),
            "held_out: pictures: expected a folder with pictures",
        ),
    ):
        failed = stellar_train(*arguments)
        assert failed.exit_code == 1
        assert failed.stderr.startswith(f"error: {expected}")
        assert "Traceback" not in failed.stderr
    assert not (tmp_path / "run").exists()

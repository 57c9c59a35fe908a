"""`stellar-train` as a person runs it: real processes, real signals."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from model import Stellar, get_preset, save_checkpoint
from tests.forked import TRAINING, Forked
from tests.service.odd_folder import ODD_LINE, odd_folder
from training.cli import app
from training.config_file import preset_run, save_config
from training.recipes import get_recipe
from training.run.learnt import told, with_learnt_losses

pytestmark = pytest.mark.long

ENVIRONMENT = os.environ | {"CUDA_VISIBLE_DEVICES": ""}


def stellar_train_here(*arguments: str | Path) -> Result:
    """In this process, where PyTorch is loaded."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def metrics(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "images_per_second"} for line in lines]


@pytest.fixture(scope="module")
def options(pictures: Path) -> list[str]:
    """Of a run of 40 steps."""
    return ["--pictures", str(pictures), "--preset", "debug", "--steps", "40", "--workers", "1"]


@pytest.fixture(scope="module")
def whole(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run, which nobody has disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done = stellar_train_here("run", *options, "--out", folder)
    assert done.exit_code == 0, done.stderr
    return folder


def same_run(one: Path, other: Path) -> None:
    assert metrics(one) == metrics(other)
    got, wanted = ((run / "checkpoint.safetensors").read_bytes() for run in (one, other))
    assert got == wanted


def test_a_run_that_is_killed_and_terminated_goes_on_each_time_to_the_same_weights(
    options: list[str], whole: Path, tmp_path: Path
) -> None:
    """SIGKILL at any moment, also while a state is being written: one is, after every step.

    Then none is, until SIGTERM comes: it saves, and says how to go on.
    """
    parted, draw = tmp_path / "parted", random.Random(0)
    for start in ([*options, "--set", "training.save_every=1"], ["--resume"]):
        process = begun(parted, *start)
        time.sleep(draw.uniform(0, 0.05))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
    process = begun(parted, "--resume", "--set", "training.save_every=1000")
    os.killpg(process.pid, signal.SIGTERM)  # as a scheduler does: the workers get it, too
    assert process.wait() == 75
    assert f"to go on: stellar-train run --out {parted} --resume" in parted.with_suffix(".log").read_text()
    done = len(metrics(parted))
    assert done < 40

    resumed = stellar_train_here("run", "--out", parted, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert f"step {done} of 40" in resumed.stdout
    same_run(parted, whole)
    starts = [json.loads(line) for line in (parted / "starts.jsonl").read_text().splitlines()]
    assert len(starts) == 4
    assert [start["step"] for start in starts] == sorted({start["step"] for start in starts})
    assert {start["torch"] for start in starts} == {torch.__version__}


def begun(run: Path, *arguments: str) -> Forked:
    """A run in this folder, some steps after its start."""
    before, command = steps_reported(run), ("training.cli", "run", "--out", str(run), *arguments)
    with run.with_suffix(".log").open("w") as log:
        process = Forked(TRAINING, *command, environment=ENVIRONMENT, stdout=log, apart=True)
    while process.poll() is None and steps_reported(run) <= before + 3:
        time.sleep(0.001)
    return process


def test_a_full_disk_is_one_sentence_and_the_state_before_stays(pictures: Path, tmp_path: Path) -> None:
    """As on a full disk, files of the second start stop growing: at half the size of a state."""
    out = tmp_path / "run"
    steps = ("--preset", "debug", "--steps", "4")
    started = stellar_train_here("run", "--pictures", pictures, *steps, "--out", out)
    assert started.exit_code == 0, started.stderr
    half = (out / "state.pt").stat().st_size // 2
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (half, before[1]))
    try:
        full = stellar_train_here("run", "--out", out, "--resume", "--steps", "8")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert full.exit_code == 1
    assert full.stderr.startswith(f"error: {out}: the state after step 8 could not be written")
    assert "Traceback" not in full.stderr
    assert torch.load(out / "state.pt")["progress"]["step"] == 4
    assert load_file(out / "checkpoint.safetensors")
    assert not list(out.glob("*.new"))


def steps_reported(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_all_settings_of_a_preset_are_shown_as_a_file_that_runs(pictures: Path, tmp_path: Path) -> None:
    shown = stellar_train_here("config", "debug")
    assert shown.exit_code == 0
    (tmp_path / "run.toml").write_text(shown.stdout.replace('"pictures"', f'"{pictures}"', 1))
    run = ("run", "--config", tmp_path / "run.toml", "--out", tmp_path / "run", "--steps", "1")
    done = stellar_train_here(*run)
    assert done.exit_code == 0, done.stderr
    assert stellar_train_here("config", "huge").stderr.startswith("error: unknown preset 'huge'")


def test_options_are_in_the_saved_config(pictures: Path, tmp_path: Path) -> None:
    done = stellar_train_here(
        *("run", "--pictures", pictures, "--preset", "debug", "--out", tmp_path / "run", "--steps", "1"),
        *("--batch-size", "3", "--reconstruction-only", "--seed", "5"),
    )
    assert done.exit_code == 0, done.stderr
    training = tomllib.loads((tmp_path / "run" / "config.toml").read_text())["training"]
    assert (training["steps"], training["batch_size"], training["seed"]) == (1, 3, 5)
    assert {name for name, weight in training["losses"].items() if weight} == {"reconstruction", "koleo"}
    assert {"reconstruction", "koleo", "masked"} & set(metrics(tmp_path / "run")[0]) == {
        "reconstruction",
        "koleo",
    }


def test_the_weights_of_a_checkpoint_s_losses_come_along_unless_others_are_set(
    pictures: Path, tmp_path: Path
) -> None:
    run = ("run", "--pictures", pictures, "--preset", "debug", "--steps", "1", "--out")
    sets = ("--set", "training.losses.sharpness=0.45", "--set", "training.losses.masked=0")
    assert stellar_train_here(*run, tmp_path / "first", *sets).exit_code == 0
    checkpoint = tmp_path / "first" / "checkpoint.safetensors"

    again = stellar_train_here(*run, tmp_path / "again", "--init", checkpoint)
    assert again.exit_code == 0, again.stderr
    assert losses(tmp_path / "again") == losses(tmp_path / "first") != losses_of_the_recipe()
    assert again.stdout.startswith(f"losses as {checkpoint} learnt: reconstruction 10, koleo 0.1, ")
    assert "sharpness 0.45\n" in again.stdout

    (tmp_path / "other.toml").write_text("training.losses.masked = 2.0")
    other = ("--init", checkpoint, "--config", tmp_path / "other.toml", "--set", "training.losses.koleo=0")
    set_otherwise = stellar_train_here(*run, tmp_path / "other", *other)
    assert set_otherwise.exit_code == 0, set_otherwise.stderr
    assert losses(tmp_path / "other") == losses(tmp_path / "first") | {"koleo": 0, "masked": 2}
    assert "sharpness 0.45; but as set: koleo 0, masked 2\n" in set_otherwise.stdout


def losses(run: Path) -> dict[str, float]:
    return dict(tomllib.loads((run / "config.toml").read_text())["training"]["losses"])


def losses_of_the_recipe() -> dict[str, float]:
    return asdict(get_recipe("debug").losses)


def test_losses_of_a_teacher_come_along_where_there_is_one(pictures: Path, tmp_path: Path) -> None:
    """And a checkpoint that notes no losses is told."""
    noted, silent = tmp_path / "noted.safetensors", tmp_path / "silent.safetensors"
    save_checkpoint(Stellar(get_preset("debug")), noted, {"losses": '{"koleo": 0.3, "distil_mean": 2}'})
    save_checkpoint(Stellar(get_preset("debug")), silent)
    changes = {"pictures": str(pictures), "init": str(noted)}
    assert with_learnt_losses(changes)["training"]["losses"] == dict.fromkeys(losses_of_the_recipe(), 0.0) | {
        "koleo": 0.3
    }
    taught = changes | {"training": {"distillation": {"teacher": "teachers:any"}}}
    assert with_learnt_losses(taught)["training"]["losses"]["distil_mean"] == 2
    run = preset_run("debug", {"pictures": str(pictures), "init": str(silent)})
    assert told(run) == f"losses: {silent} does not say how it weighed them; they are the recipe's"


def test_what_a_folder_holds_beside_its_pictures_is_told(tmp_path: Path) -> None:
    odd, linked = odd_folder(tmp_path / "b\udce4r"), tmp_path / "linked"
    run = ("run", "--preset", "debug", "--steps", "2", "--out", tmp_path / "run", "--pictures")
    refused = stellar_train_here(*run, odd)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("error: pictures: expected a path in UTF-8, which TOML is, got ")
    assert refused.stderr.endswith(r"/b\xe4r/pictures: reach it by a link (ln -s)" + "\n")
    linked.symlink_to(odd)
    done = stellar_train_here(*run, linked)
    assert (done.exit_code, done.stderr.splitlines()[0]) == (0, ODD_LINE)


def test_mistakes_are_one_sentence_and_no_trace(pictures: Path, tmp_path: Path) -> None:
    run = ("run", "--preset", "debug", "--out", tmp_path / "run")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "config.toml").write_text("")
    (tmp_path / "begun").mkdir()
    begun = preset_run("debug", {"pictures": str(pictures)})
    save_config(begun, tmp_path / "begun")
    checkpoint = tmp_path / "debug.safetensors"
    save_checkpoint(Stellar(get_preset("debug")), checkpoint)
    odd = tmp_path / "odd.safetensors"
    save_checkpoint(Stellar(get_preset("debug")), odd, {"losses": '{"beauty": 1}'})
    resume = ("run", "--out", tmp_path / "begun", "--resume", "--set")
    taught = (*run, "--pictures", pictures, "--set", "training.losses.distil_mean=1")
    nowhere = ("--set", f"training.distillation.teacher={tmp_path}/none.onnx")
    for arguments, expected in (
        (run, "pictures: expected a folder, or a pattern of shards, got none"),
        ((*run, "--pictures", tmp_path / "nowhere"), "pictures: expected a folder with pictures"),
        ((*run, "--pictures", pictures, "--steps", "0"), "steps: expected a positive integer, got 0"),
        ((*run, "--pictures", pictures, "--init", tmp_path / "none"), "no file"),
        (taught, "distillation.teacher: the losses called distil_… learn from one; expected"),
        ((*taught, *nowhere), f"distillation.teacher: no file is called {tmp_path}/none.onnx"),
        (("run", "--out", tmp_path / "nothing", "--resume"), "holds no run"),
        (("run", "--out", tmp_path / "taken", "--pictures", pictures), "already holds a run"),
        ((*resume, "model.depth=3"), "model.depth: a run goes on with what it began with, 2; got 3"),
        ((*resume, "model.num_heads=1"), "model.num_heads: a run goes on"),
        ((*resume, "training.teacher=true"), "training.teacher: a run goes on"),
        ((*resume, "training.objective=mae"), "training.objective: a run goes on"),
        ((*run, "--pictures", pictures, "--set", "training.losses=5"), "losses: expected a table"),
        ((*run, "--pictures", pictures, "--set", "model.num_sparse_tokens=1"), "num_sparse_tokens: koleo"),
        (
            (*run, "--pictures", pictures, "--init", checkpoint, "--set", "model.depth=3"),
            f"init: {checkpoint} has depth 2, not 3\n",
        ),
        ((*run, "--pictures", pictures, "--init", odd), f"init: {odd} notes odd weights of losses: "),
    ):
        failed = stellar_train_here(*arguments)
        assert failed.exit_code == 1
        assert failed.stderr.startswith("error: ")
        assert expected in failed.stderr
        assert "Traceback" not in failed.stderr
    assert not (tmp_path / "run").exists()


def test_settings_and_help_are_told_without_pytorch() -> None:
    """It takes seconds to load."""
    without = "import sys; sys.modules['torch'] = None; from training.cli import app; app()"
    for arguments in (["config", "debug"], ["run", "--help"], ["finetune", "--help"]):
        done = subprocess.run([sys.executable, "-c", without, *arguments], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")

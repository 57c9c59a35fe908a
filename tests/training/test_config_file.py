"""Configurations as TOML: what is written, what is read, and which one wins."""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest

from model import StellarConfig
from training.config import RunConfig, TrainingConfig
from training.config_file import (
    changed,
    describe,
    load_config,
    merged,
    parse_changes,
    preset_run,
    read_changes,
    save_config,
)
from training.loss_weights import LossWeights
from training.recipes import TRAINING_PRESETS

RUN = preset_run("debug", {"pictures": "/photos"})


def test_a_saved_run_reads_back_the_same(tmp_path: Path) -> None:
    training = replace(RUN.training, losses=LossWeights(masked=0.3), local_scale=(0.1, 0.2), bf16=False)
    run = replace(RUN, training=training, init="/weights.safetensors")
    save_config(run, tmp_path)
    assert load_config(tmp_path) == run


@pytest.mark.parametrize("preset", TRAINING_PRESETS)
def test_a_saved_run_of_any_preset_reads_back_the_same(preset: str, tmp_path: Path) -> None:
    run = preset_run(preset, {"pictures": str(tmp_path)})
    save_config(run, tmp_path)
    assert load_config(tmp_path) == run


def test_a_saved_run_of_one_token_reads_back_the_same(tmp_path: Path) -> None:
    losses = {"koleo": 0.0, "masked_koleo": 0.0}
    changes = {"model": {"num_sparse_tokens": 1}, "training": {"losses": losses}}
    run = preset_run("debug", {"pictures": str(tmp_path), **changes})
    save_config(run, tmp_path)
    assert load_config(tmp_path) == run


def test_every_setting_is_shown_with_its_description() -> None:
    text = describe(RUN)
    shown = tomllib.loads(text)
    assert set(shown["training"]["losses"]) == {field.name for field in fields(LossWeights)}
    assert set(shown["training"]) == {field.name for field in fields(TrainingConfig)}
    assert set(shown["model"]) == {field.name for field in fields(StellarConfig)}
    for field in fields(RunConfig):
        assert field.name in text
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if " = " in line and not line.startswith("#"):
            assert lines[number - 1].startswith("# "), line


def test_the_shown_settings_are_a_file_that_gives_the_same_run(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(describe(RUN))
    assert preset_run("tiny", read_changes(tmp_path / "run.toml")) == RUN


def test_later_settings_win_and_leave_their_neighbours() -> None:
    changes = merged(
        {"pictures": "/photos", "training": {"steps": 5, "losses": {"koleo": 0.5}}},
        parse_changes(["training.losses.masked=0.25", "training.steps=7", "model.num_sparse_tokens=2"]),
    )
    run = preset_run("debug", changes)
    assert (run.training.steps, run.model.num_sparse_tokens) == (7, 2)
    assert (run.training.losses.koleo, run.training.losses.masked) == (0.5, 0.25)
    assert run.training.losses.clustering == 1.0


def test_words_numbers_lists_and_truth_values_are_told_apart() -> None:
    settings = ["training.parallel=fsdp", "training.local_scale=[0.1, 0.3]", "training.compile=true"]
    training = changed(RUN, parse_changes(settings)).training
    assert (training.parallel, training.local_scale, training.compile) == ("fsdp", (0.1, 0.3), True)


def test_paths_in_a_file_are_relative_to_it_and_addresses_stay(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('pictures = "photos"\ninit = "/weights"\n')
    assert read_changes(tmp_path / "run.toml") == {"pictures": str(tmp_path / "photos"), "init": "/weights"}
    (tmp_path / "run.toml").write_text('pictures = "s3://bucket/*.parquet"\n')
    assert read_changes(tmp_path / "run.toml") == {"pictures": "s3://bucket/*.parquet"}


def test_a_teachers_file_is_relative_to_the_settings_and_a_function_stays(tmp_path: Path) -> None:
    setting = "training.distillation.teacher"
    (tmp_path / "run.toml").write_text(f'{setting} = "nets/teacher.onnx"\n')
    expected = {"training": {"distillation": {"teacher": str(tmp_path / "nets" / "teacher.onnx")}}}
    assert read_changes(tmp_path / "run.toml") == expected
    here = str(Path.cwd() / "teacher.onnx")
    assert parse_changes([f"{setting}=teacher.onnx"])["training"]["distillation"]["teacher"] == here
    assert parse_changes([f"{setting}=nets:teacher"])["training"]["distillation"]["teacher"] == "nets:teacher"
    assert parse_changes(["init=first.safetensors"]) == {"init": str(Path.cwd() / "first.safetensors")}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.momentum=0.9", "momentum: no such setting; expected one of steps, batch_size"),
        ("training.losses=3", "losses: expected a table of settings, got 3"),
        ("training.steps=0", "steps: expected a positive integer, got 0"),
        ("training.steps=many", "steps: expected int, got 'many'"),
        ("training.global_scale=1", "global_scale: expected tuple, got 1"),
        ("training.parallel=pipeline", "parallel: .*'ddp' or 'fsdp'"),
        ("model.width=63", "width: expected a multiple of 4, got 63"),
        ("training.steps", "expected NAME=VALUE"),
        ("training=3", "training: expected a table of settings, got 3"),
        ("pictures=5", "pictures: expected a path, got 5"),
        ("init.name=5", "init: expected a path, got {'name': 5}"),
        ("training.beta2=1", r"beta2: expected a number in \[0, 1\), got 1"),
        ("training.mask_ratio=1", "mask_ratio: expected a share that leaves some of 16 patches, got 1"),
        ("training.seed=2147483648", "seed: expected an integer from 0 to 2147483647"),
    ],
)
def test_mistakes_are_named(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed(RUN, parse_changes([setting]))


def test_a_setting_has_no_settings_of_its_own() -> None:
    with pytest.raises(ValueError, match=r"--set training.steps.x=1: steps is a table .* was set to 2"):
        parse_changes(["training.steps=2", "training.steps.x=1"])


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("steps: 7")
    with pytest.raises(ValueError, match=r"run\.toml: "):
        read_changes(tmp_path / "run.toml")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no run: expected config\.toml in it"):
        load_config(tmp_path)


def test_an_unknown_field_in_a_saved_run_is_refused_with_its_name(tmp_path: Path) -> None:
    save_config(RUN, tmp_path)
    path = tmp_path / "config.toml"
    path.write_text(path.read_text().replace("warmup_share", "momentum"))
    with pytest.raises(ValueError, match="momentum"):
        load_config(tmp_path)


def test_a_models_name_is_no_path(tmp_path: Path) -> None:
    assert parse_changes(["init=stellar-b16"]) == {"init": "stellar-b16"}
    assert parse_changes(["init=./stellar-b16"]) == {"init": str(Path.cwd() / "stellar-b16")}
    (tmp_path / "run.toml").write_text('init = "stellar-tiny"\n')
    assert read_changes(tmp_path / "run.toml") == {"init": "stellar-tiny"}


def test_a_run_of_before_the_reference_had_a_setting_goes_on_with_a_crop_of_its_own(tmp_path: Path) -> None:
    save_config(preset_run("debug", {"pictures": "/photos"}), tmp_path)
    path = tmp_path / "config.toml"
    assert load_config(tmp_path).training.reference_crop == "first_masked"
    path.write_text(path.read_text().replace('reference_crop = "first_masked"', ""))
    assert load_config(tmp_path).training.reference_crop == "own"


@pytest.mark.parametrize("size", ["[32]", "[32, 32, 32]", "32.5", "'32'"])
def test_a_picture_size_in_a_saved_run_that_is_none_is_refused(tmp_path: Path, size: str) -> None:
    save_config(RUN, tmp_path)
    path = tmp_path / "config.toml"
    path.write_text(path.read_text().replace("\nimage_size = 32\n", f"\nimage_size = {size}\n"))
    with pytest.raises(ValueError, match="image_size: expected an integer, or two, height and width, got"):
        load_config(tmp_path)

"""The comparison on Fashion-MNIST, on a set of its form that is small enough to train on in seconds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from tests.training.stopping import stopped
from training.cli import app
from training.experiments.claim import ARMS, MODEL, RECIPE, raw_pixels
from training.experiments.fashion import SPLITS, prepare_fashion


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Handwritten digits, drawn at 28 pixels, lie where the package's files would."""
    work = tmp_path_factory.mktemp("claim work")
    digits = load_digits()
    drawn = np.zeros((len(digits.images), 28, 28), np.uint8)
    drawn[:, 2:26, 2:26] = np.repeat(np.repeat(digits.images * 15, 3, axis=1), 3, axis=2).astype(np.uint8)
    unpacked = work / "fashion-mnist" / "sources" / "fashion-mnist" / "usr"
    unpacked.mkdir(parents=True)
    for split, part in (("train", slice(0, 100)), ("test", slice(100, 140))):
        images, labels = drawn[part].tobytes(), digits.target[part].astype(np.uint8).tobytes()
        name = SPLITS[split]
        (unpacked / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + images))
        (unpacked / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + labels))
    return work


def test_arms_differ_only_in_what_they_are_about() -> None:
    for arm in ARMS.values():
        assert (arm.model.width, arm.model.depth) == (MODEL.width, MODEL.depth)
        assert (arm.training.steps, arm.training.batch_size) == (RECIPE.steps, RECIPE.batch_size)
    assert not ARMS["semantic"].training.losses.want("reconstruction")
    assert not ARMS["reconstruction"].training.losses.want(
        "clustering", "masked", "cls_clustering", "local_cls"
    )


def test_arms_of_both_objectives_are_trained_judged_and_kept(work: Path) -> None:
    arms = ("stellar-4", "mae")
    command = ["claim", "--work", str(work), "--steps", "2"] + [
        part for arm in arms for part in ("--arm", arm)
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    for arm in arms:
        result = json.loads((work / f"{arm}-0" / "results.json").read_text())
        assert set(result["accuracy"]["linear"]) == {"mean", "tokens", "cls", "dense"}
        assert (result["psnr_db"] is None) == (arm != "stellar-4")
        assert (work / f"{arm}-0" / "grid.png").stat().st_size > 1000
    written = (work / "stellar-4-0" / "results.json").stat().st_mtime_ns
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0
    assert (work / "stellar-4-0" / "results.json").stat().st_mtime_ns == written
    table = (work / "table.md").read_text()
    assert [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[2:]] == [
        *arms,
        "raw pixels",
    ]


def test_the_claim_ends_with_75_where_a_signal_stops_it(work: Path) -> None:
    ended = stopped("claim", work, "semantic-7", "--arm", "semantic", "--seed", "7")
    assert ended.exit_code == 75, ended.output
    assert "stopped and saved; to go on: stellar-train claim" in ended.stdout
    assert (work / "semantic-7/checkpoint.safetensors").exists()


def test_an_unknown_arm_is_named(work: Path) -> None:
    done = CliRunner().invoke(app, ["claim", "--work", str(work), "--arm", "semantics"])
    assert done.exit_code == 1
    assert "unknown arm 'semantics'" in done.output


def test_raw_pixels_tell_digits_apart(work: Path) -> None:
    figures = raw_pixels(prepare_fashion(work / "fashion-mnist"))
    assert figures["linear"] > 0.6
    assert figures["knn"] > 0.6

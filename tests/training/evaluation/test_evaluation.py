"""Figures of a model, against plain formulas and by the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from typer.testing import CliRunner

from model import PRESETS, Stellar, save_checkpoint
from training.cli import app
from training.data.photos import sample_photos
from training.evaluation.evaluation import LABELLED_SETS, measure, reconstruction, semantics
from training.evaluation.grid import COLUMNS


@pytest.fixture(scope="module")
def model() -> Stellar:
    torch.manual_seed(0)
    return Stellar(replace(PRESETS["debug"], image_size=(48, 32))).eval()


@pytest.fixture
def drawings(tmp_path: Path) -> Path:
    """A few labelled drawings: red things and blue things."""
    rng = np.random.default_rng(0)
    for name in LABELLED_SETS:
        for label, colour in (("red", (200, 0, 0)), ("blue", (0, 0, 200))):
            (tmp_path / "labelled" / name / label).mkdir(parents=True)
            for i in range(4):
                noise = rng.integers(0, 50, (40, 40, 3))
                image = Image.fromarray((np.array(colour) + noise).astype(np.uint8))
                image.save(tmp_path / "labelled" / name / label / f"{label}{i}.png")
    return tmp_path


@torch.no_grad()
def test_psnr_and_ssim_are_scikit_images(model: Stellar) -> None:
    figures = reconstruction(model)
    for name, image in sample_photos(model.config.size).items():
        encoding, localization = model(image[None])
        rendered = model.render(encoding.sparse, localization)[0]
        want = peak_signal_noise_ratio(image.numpy(), rendered.numpy(), data_range=1)  # type: ignore[no-untyped-call]
        assert figures[f"psnr_db_{name}"] == pytest.approx(want, abs=1e-3)
        want = structural_similarity(image.numpy(), rendered.numpy(), channel_axis=0, data_range=1)  # type: ignore[no-untyped-call]
        assert figures[f"ssim_{name}"] == pytest.approx(want, abs=1e-3)


def test_pictures_of_another_size_are_compared_at_the_native_one() -> None:
    """A VQ head draws 16 pixels for each patch of 14."""
    torch.manual_seed(0)
    config = replace(PRESETS["debug"], image_size=(56, 28), patch_size=14, head="vq", vqgan_channels=32)
    model = Stellar(config).eval()
    encoding, localization = model(torch.rand(1, 3, 56, 28))
    assert model.render(encoding.sparse, localization).shape == (1, 3, 64, 32)
    figures = measure(model)
    assert {"psnr_db", "ssim", "ssim_coffee"} <= figures.keys()
    assert all(math.isfinite(value) for value in figures.values())


def test_an_untrained_model_for_comparison_leaves_random_draws_alone(model: Stellar, drawings: Path) -> None:
    torch.manual_seed(3)
    want = torch.rand(4)
    torch.manual_seed(3)
    semantics(model, drawings / "labelled")
    assert torch.equal(torch.rand(4), want)


def test_colours_are_told_apart_even_by_an_untrained_model(model: Stellar, drawings: Path) -> None:
    figures = measure(model, drawings / "labelled")
    assert all(math.isfinite(value) for value in figures.values())
    for suffix in ("", "_tokens", "_cls", "_untrained", "_untrained_tokens", "_untrained_cls", "_pixels"):
        assert figures[f"emoji_group_knn{suffix}"] > figures["emoji_group_chance"] == 0.5


def test_the_command_writes_figures_and_a_picture(model: Stellar, drawings: Path, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "debug.safetensors")
    command = ["evaluate", str(tmp_path / "debug.safetensors"), "--pictures", str(drawings)]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    assert "psnr_db" in done.stdout
    figures = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert {"psnr_db", "ssim", "each_drop_random_share_inside", "stamp_folder_knn_cls"} <= figures.keys()
    with Image.open(tmp_path / "out" / "grid.png") as picture:
        assert picture.size == (len(COLUMNS) * 160, 6 * 240 + 16)


def test_the_command_judges_a_set_that_is_named_and_says_what_it_could_not_measure(
    model: Stellar, tmp_path: Path
) -> None:
    """Red and blue pictures, a broken one among them; the first of each label are drawn in the grid."""
    rng, sides = np.random.default_rng(0), {"red": (200, 0, 0), "blue": (0, 0, 200)}
    for part in ("train", "test"):
        for label, colour in sides.items():
            (tmp_path / part / label).mkdir(parents=True)
            for i in range(4):
                noise = rng.integers(0, 50, (40, 40, 3))
                image = Image.fromarray((np.array(colour) + noise).astype(np.uint8))
                image.save(tmp_path / part / label / f"{i}.png")
    (tmp_path / "test" / "red" / "broken.png").write_bytes(b"no picture")
    save_checkpoint(model, tmp_path / "debug.safetensors")
    command = ["evaluate", str(tmp_path / "debug.safetensors"), "--labelled", str(tmp_path)]
    done = CliRunner().invoke(app, [*command, "--probe-steps", "2", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    figures = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    judged = {f"{judge}_{kind}" for judge in ("linear", "knn") for kind in ("mean", "cls", "dense", "pixels")}
    assert judged < figures.keys()
    assert figures["linear_dense"] == figures["linear_pixels"] == 1
    assert (figures["chance"], figures["unreadable"]) == (0.5, 1)
    assert {f"decoder_probe_psnr_db_{kind}" for kind in ("tokens", "dense")} < figures.keys()
    for name in ("psnr_db", "ssim"):  # above the values that they are means of, not of other pictures
        each = [value for key, value in figures.items() if key.startswith(f"{name}_")]
        assert figures[name] == pytest.approx(sum(each) / len(each)) != figures[f"labelled_{name}"]
    assert figures["labelled_psnr_db"] >= -10 * math.log10(figures["labelled_mse"])  # by Jensen's inequality
    assert figures["labelled_stlpips"] > 0
    assert figures["labelled_frechet_alexnet"] > 0
    for name, reason in figures.get("not_measured", {}).items():
        assert name in ("labelled_lpips", "labelled_rfid")
        assert "stellar-service[perception]" in reason
        assert f"{name} was not measured: {reason}" in done.stdout
    with Image.open(tmp_path / "out" / "grid.png") as picture:
        assert picture.size == (len(COLUMNS) * 160, 2 * 240 + 16)


def test_missing_drawings_are_named(model: Stellar, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"noto: expected pictures in LABEL/NAME\.png"):
        measure(model, tmp_path)

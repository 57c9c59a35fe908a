"""Figures of a model, against plain formulas and by the command."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from model import PRESETS, Stellar, save_checkpoint
from training.evaluation import LABELLED_SETS, measure, reconstruction, sample_photos, without


@pytest.fixture(scope="module")
def model() -> Stellar:
    torch.manual_seed(0)
    return Stellar(PRESETS["debug"]).eval()


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


def test_six_photos_are_squares_in_range() -> None:
    photos = sample_photos(24)
    assert len(photos) == 6
    for image in photos.values():
        assert image.shape == (3, 24, 24)
        assert 0 <= float(image.min()) < float(image.max()) <= 1


@torch.no_grad()
def test_psnr_is_scikit_images(model: Stellar) -> None:
    figures = reconstruction(model)
    for name, image in sample_photos(model.config.image_size).items():
        encoding, localization = model(image[None])
        rendered = model.render(encoding.sparse, localization)[0]
        want = peak_signal_noise_ratio(image.numpy(), rendered.numpy(), data_range=1)  # type: ignore[no-untyped-call]
        assert figures[f"psnr_db_{name}"] == pytest.approx(want, abs=1e-3)


def test_dropping_a_token_keeps_rows_whole() -> None:
    localization = torch.rand(2, 9, 4).softmax(dim=-1)
    after = without(localization, 2)
    assert (after[..., 2] == 0).all()
    torch.testing.assert_close(after.sum(dim=-1), torch.ones(2, 9))
    torch.testing.assert_close(after[..., 0] / after[..., 1], localization[..., 0] / localization[..., 1])


def test_colours_are_told_apart_even_by_an_untrained_model(model: Stellar, drawings: Path) -> None:
    figures = measure(model, drawings / "labelled")
    assert all(math.isfinite(value) for value in figures.values())
    for suffix in ("", "_cls", "_untrained", "_pixels"):
        assert figures[f"emoji_group_knn{suffix}"] > figures["emoji_group_chance"] == 0.5


def test_the_command_writes_figures_and_a_picture(model: Stellar, drawings: Path, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "debug.safetensors")
    command = [sys.executable, "-m", "training.cli", "evaluate", str(tmp_path / "debug.safetensors")]
    command += ["--pictures", str(drawings), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "psnr_db" in done.stdout
    figures = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert {"psnr_db", "ssim", "drop_change_inside_to_outside", "stamp_folder_knn_cls"} <= figures.keys()
    with Image.open(tmp_path / "out" / "evaluation.png") as picture:
        assert picture.size == (4 * 32, 6 * 32)


def test_missing_drawings_are_named(model: Stellar, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"noto: expected pictures in LABEL/NAME\.png"):
        measure(model, tmp_path)

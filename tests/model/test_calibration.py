"""`stellar-model calibrate` on a bundle whose vectors can be worked out by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from typer.testing import CliRunner, Result

from model.calibration import Spread
from model.cli import app
from model.judges import Views
from service.runtime.bundle import read_bundle
from service.runtime.statistics import read_statistics
from tests.service.server import running
from tests.service.toy import results, write_toy

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from model.cli import app
app()
"""
"""The command where PyTorch can't be imported."""


def calibrate(*arguments: str | Path) -> Result:
    """In this process."""
    return CliRunner().invoke(app, ["calibrate", *map(str, arguments)])


def told(done: Result | subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 pictures in two folders, dark ones and light ones; and one that can't be read."""
    folder, source = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for label, least in (("dark", 0), ("light", 150)):
        (folder / label).mkdir()
        for number in range(36):
            pixels = least + source.integers(0, 50, 3) + source.integers(0, 50, (8, 8, 1))
            pixels[..., 2] = 0  # the toy is quick then, also with a piece of it
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    return folder


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy(tmp_path / "models/toy")


def vectors(pictures: Path) -> dict[str, np.ndarray[Any, Any]]:
    """What the toy makes of all pictures."""
    images = np.stack([np.asarray(Image.open(path)) for path in sorted(pictures.glob("*/*.png"))])
    return results(images)


def test_statistics_are_those_of_the_pictures(toy: Path, pictures: Path) -> None:
    before = read_bundle(toy).manifest
    command = [sys.executable, "-c", WITHOUT_TORCH, "calibrate", str(toy), "--pictures", str(pictures)]
    command += ["--labelled", str(pictures)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "left out, because they can't be read: 1" in told(done)
    bundle = read_bundle(toy)
    assert bundle.manifest.version != before.version
    assert {*bundle.manifest.files} - {*before.files} == {"statistics.safetensors"}
    assert before.files.items() < bundle.manifest.files.items()
    about, statistics = bundle.manifest.statistics, read_statistics(bundle)
    assert about is not None
    assert statistics is not None
    assert (about.pictures, bundle.manifest.poolings[0]) == (72, "whitened")
    assert about.judged["labels_whitened"] == 1 > about.judged["labels_mean"]
    seen = vectors(pictures)
    semantics = seen["semantics"].astype(float)
    np.testing.assert_allclose(statistics.token_means, semantics.mean(axis=0), atol=1e-5)
    pooled = {
        "mean": semantics.mean(axis=1),
        "shares": np.einsum("bnr,brd->bd", seen["localization"].astype(float), semantics) / 4,
        "cls": seen["cls"].astype(float),
    }[about.pooled]
    np.testing.assert_allclose(statistics.center, pooled.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(
        statistics.whitening,
        Spread(pooled.astype(np.float32)).whitening(about.shrinkage),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("shrinkage", [1.0, 0.1, 0.001])
def test_whitening_makes_the_shrunk_covariance_one_without_turning(shrinkage: float) -> None:
    source = np.random.default_rng(0)
    vectors = source.normal(3, 1, (500, 6)) @ source.normal(0, 1, (6, 6))
    whitening = Spread(vectors.astype(np.float32)).whitening(shrinkage)
    covariance = np.cov(vectors.T, bias=True)
    shrunk = (1 - shrinkage) * covariance + shrinkage * covariance.trace() / 6 * np.eye(6)
    np.testing.assert_allclose(whitening, whitening.T, atol=1e-9)
    np.testing.assert_allclose(whitening @ shrunk @ whitening, np.eye(6), atol=1e-4)


def test_without_labels_two_views_of_held_out_pictures_have_to_find_each_other(
    toy: Path, pictures: Path, tmp_path: Path
) -> None:
    assert calibrate(toy, "--pictures", pictures, "--most", "70").exit_code == 0
    manifest = read_bundle(toy).manifest
    assert manifest.statistics is not None
    assert manifest.statistics.pictures in (55, 56)  # without a fifth, and maybe the one that can't be read
    assert {*manifest.statistics.judged} == {"views_mean", "views_cls", "views_whitened"}
    again = write_toy(tmp_path / "again/toy")
    calibrate(again, "--pictures", pictures, "--most", "70")
    assert read_bundle(again).manifest == manifest


def test_views_are_other_pieces_that_never_change(pictures: Path) -> None:
    path = pictures / "dark/3.png"
    views = Views([path])
    one, other = (views.pixels(picture, 8) for picture in views.pictures)
    assert one.shape == other.shape == (8, 8, 3)
    assert (one != other).any()
    np.testing.assert_array_equal(one, Views([path]).pixels((path, 0), 8))


def test_calibrated_again_it_has_nothing_of_before(toy: Path, pictures: Path) -> None:
    calibrate(toy, "--pictures", pictures, "--labelled", pictures)
    once = read_bundle(toy).manifest
    calibrate(toy, "--pictures", pictures)
    assert read_bundle(toy).manifest.version != once.version
    calibrate(toy, "--pictures", pictures, "--labelled", pictures)
    assert read_bundle(toy).manifest == once


def test_what_it_made_is_served(toy: Path, pictures: Path, tmp_path: Path) -> None:
    calibrate(toy, "--pictures", pictures)
    with running(tmp_path / "log", {}, "--models", str(toy.parent)) as server:
        path = pictures / "light/7.png"
        answer = server.client.post("/embed?normalize=false", files={"image": path.read_bytes()}).json()
        model = server.client.get("/models").json()["models"][0]
        assert answer["pooling"] == model["poolings"][0] == model["statistics"]["default"]
        assert answer["model"] == f"toy@{model['version']}"
        tokens = server.client.post("/tokens", files={"image": path.read_bytes()}).json()["data"][0]
        semantics = results(np.asarray(Image.open(path))[None])["semantics"][0]
        means = load_file(toy / "statistics.safetensors")["token_means"]
        np.testing.assert_allclose(tokens["concepts"], semantics - means, atol=1e-5)


def test_a_bundle_that_can_t_be_calibrated_stays_as_it_was(toy: Path, pictures: Path, tmp_path: Path) -> None:
    def refused(*arguments: str | Path) -> str:
        before = {path.name: path.read_bytes() for path in toy.iterdir()}
        done = calibrate(*arguments)
        assert done.exit_code == 1
        assert {path.name: path.read_bytes() for path in toy.iterdir()} == before
        assert [path.name for path in toy.parent.iterdir()] == ["toy"]
        return told(done)

    few = tmp_path / "few"
    (few / "a").mkdir(parents=True)
    assert "expected 50 pictures or more that can be read and are not held out, got 0" in refused(
        toy, "--pictures", few
    )
    assert "expected pictures in two folders or more, which are their labels" in refused(
        toy, "--pictures", pictures, "--labelled", few
    )
    (toy / "encoder.onnx").write_bytes(b"damaged")
    assert "encoder.onnx is missing or damaged: export the bundle again" in refused(
        toy, "--pictures", pictures
    )
    (toy / "bundle.json").write_text(json.dumps(["no manifest"]))
    assert "is no manifest" in refused(toy, "--pictures", pictures)
    (toy / "bundle.json").unlink()
    assert "it has no bundle.json" in refused(toy, "--pictures", pictures)

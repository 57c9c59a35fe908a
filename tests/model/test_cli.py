"""`stellar-model` as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch
from typer.testing import CliRunner, Result

from model import PRESETS, Stellar, get_preset, save_checkpoint
from model.cli import app
from service.runtime.bundle import read_bundle


def stellar_model(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def stellar_model_here(*arguments: str | Path) -> Result:
    """The same in this process, where PyTorch is loaded."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_export_then_info(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_checkpoint(Stellar(get_preset("debug", depth=1)), tmp_path / "debug.safetensors")
    (tmp_path / "quality.json").write_text('{"psnr_db": 20.5, "not_measured": {"lpips": "needs weights"}}')
    exported = stellar_model_here(
        "export",
        tmp_path / "debug.safetensors",
        "--out",
        tmp_path / "a b",
        "--name",
        "a-b",
        "--quality",
        tmp_path / "quality.json",
        "--tensorrt",
    )
    assert exported.exit_code == 0, exported.stderr
    assert "localization_max_abs" in exported.stdout
    bundle = json.loads(stellar_model_here("info", tmp_path / "a b", "--json").stdout)
    assert (bundle["name"], bundle["quality"]) == ("a-b", {"psnr_db": 20.5})
    assert read_bundle(tmp_path / "a b").manifest.name == "a-b"  # as the service does
    assert (bundle["precision"], bundle["limits"]["cosine_min"]) == ("fp16", 0.999)  # --tensorrt means fp16
    checkpoint = json.loads(stellar_model_here("info", tmp_path / "debug.safetensors", "--json").stdout)
    assert (checkpoint["width"], checkpoint["depth"], checkpoint["head"]) == (64, 1, "pixel")


def test_errors_are_one_sentence_and_no_trace(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8 no checkpoint")
    failed = stellar_model("info", tmp_path / "photo.jpg")
    assert failed.returncode == 1
    assert "expected a safetensors file" in failed.stderr
    assert "Traceback" not in failed.stderr
    empty = stellar_model_here("info", tmp_path)
    assert empty.exit_code == 1
    assert "no bundle.json" in empty.stderr


def test_unknown_precision_is_refused(tmp_path: Path) -> None:
    save_checkpoint(Stellar(PRESETS["debug"]), tmp_path / "debug.safetensors")
    refused = stellar_model(
        "export", tmp_path / "debug.safetensors", "--out", tmp_path / "fp8", "--precision", "fp8"
    )
    assert refused.returncode == 1
    assert "precision: expected one of fp32, fp16, int8, got 'fp8'" in " ".join(refused.stderr.split())
    assert not (tmp_path / "fp8").exists()


def test_a_bundle_that_could_not_be_served_is_refused(tmp_path: Path) -> None:
    save_checkpoint(Stellar(PRESETS["debug"]), tmp_path / "debug.safetensors")
    quality = tmp_path / "quality.json"
    export = ("export", tmp_path / "debug.safetensors", "--out", tmp_path / "a b")
    for options, content, expected in (
        ([], "{}", "name: expected letters, digits, '.', '_' and '-', got 'a b'"),
        (["--name", "mine"], '{"psnr_db": "20"}', "quality: expected a finite number for psnr_db"),
        (["--name", "mine"], '{"psnr_db": NaN}', "quality: expected a finite number for psnr_db"),
        (["--name", "mine"], "[1]", "quality: expected a JSON object of figures"),
    ):
        quality.write_text(content)
        refused = stellar_model_here(*export, *options, "--quality", quality)
        assert refused.exit_code == 1
        assert expected in " ".join(refused.stderr.split())
        assert not (tmp_path / "a b").exists()


def test_help_lists_the_commands() -> None:
    told = stellar_model_here("--help").stdout
    assert "export" in told
    assert "info" in told

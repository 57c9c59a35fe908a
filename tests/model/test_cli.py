"""`stellar-model` as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from model import PRESETS, Stellar, get_preset, save_checkpoint
from model.cli import app
from service.settings import BUNDLED_MODELS


def stellar_model(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def stellar_model_here(*arguments: str | Path) -> Result:
    """The same in this process, where PyTorch is loaded."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_info_describes_bundles_and_checkpoints(tmp_path: Path) -> None:
    bundle = BUNDLED_MODELS / "stellar-tiny"
    told = json.loads(stellar_model_here("info", bundle, "--json").stdout)
    assert told == json.loads((bundle / "bundle.json").read_text())
    save_checkpoint(Stellar(get_preset("debug", depth=1)), tmp_path / "debug.safetensors")
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
    refused = stellar_model_here(
        "export", tmp_path / "debug.safetensors", "--out", tmp_path / "fp8", "--precision", "fp8"
    )
    assert refused.exit_code == 1
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

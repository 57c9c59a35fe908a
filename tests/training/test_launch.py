"""What a run says of itself that one might not expect, and how it ends then."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from model import Stellar, get_preset, save_checkpoint
from training.cli import app


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["run", *(str(argument) for argument in arguments)])


def begin(pictures: Path | str, out: Path, *arguments: str | Path) -> Result:
    return run("--preset", "debug", "--steps", "2", "--pictures", pictures, "--out", out, *arguments)


def go_on(out: Path, *arguments: str | Path) -> Result:
    return run("--out", out, "--resume", "--steps", "4", *arguments)


@pytest.fixture(scope="module")
def begun(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps that has looked at held-out pictures."""
    out = tmp_path_factory.mktemp("begun") / "run"
    done = begin(pictures, out, "--set", "training.held_out_share=0.3", "--set", "training.save_every=1")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    return out


def test_losses_without_views_are_said_to_count_nothing(pictures: Path, tmp_path: Path) -> None:
    none = ("--set", "training.masked_views=0", "--set", "training.local_crops=0")
    done = begin(pictures, tmp_path, *none, "--set", "training.losses.masked_koleo=0")
    assert (done.exit_code, done.stderr) == (
        0,
        "losses that count nothing, for they have no views: masked, masked_cls (masked_views is 0); "
        "local_cls (local_crops is 0)\n",
    )


def test_a_run_whose_steps_were_all_skipped_is_an_error(pictures: Path, tmp_path: Path) -> None:
    model = Stellar(get_preset("debug"))
    with torch.no_grad():
        model.sparse_tokens[0, 0] = math.nan
    save_checkpoint(model, tmp_path / "broken.safetensors")
    failed = begin(pictures, tmp_path / "run", "--init", tmp_path / "broken.safetensors")
    assert failed.exit_code == 1
    assert "error: none of 2 steps had a finite loss and gradient" in failed.stderr
    assert "done" not in failed.stdout
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("size", [10**8, 10**9 * 2, 10**30])
def test_a_model_that_no_machine_could_hold_is_one_sentence(
    pictures: Path, tmp_path: Path, size: int
) -> None:
    failed = begin(pictures, tmp_path / "run", "--set", f"model.image_size={size}")
    assert failed.exit_code == 1
    assert failed.stderr.startswith(
        f"error: image_size: expected an integer from 1 to {2**31 - 1}, got {size}"
        if size > 2**31
        else "error: the model takes more memory than cpu has; expected a smaller one: model.image_size"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["metrics.jsonl", "validation.jsonl"])
@pytest.mark.parametrize("line", [b"{", b"\xff\xfe", b"[1]", b'{"step": null}', b"{}"])
def test_a_damaged_line_is_named_with_its_file(begun: Path, tmp_path: Path, name: str, line: bytes) -> None:
    out = Path(shutil.copytree(begun, tmp_path / "run"))
    first, *others = (out / name).read_bytes().splitlines()
    (out / name).write_bytes(b"\n".join([first, line, *others, b""]))
    failed = go_on(out)
    assert (failed.exit_code, failed.stderr) == (
        1,
        f"error: {out / name}: line 2 is damaged: take the line out, or move the file away, and go on\n",
    )
    (out / name).unlink()
    assert go_on(out).exit_code == 0


def test_a_damaged_state_is_told_and_two_are_an_error(begun: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(begun, tmp_path / "run"))
    (out / "state.pt").write_bytes(b"no state")
    done = go_on(out)
    assert done.exit_code == 0, done.stderr
    assert done.stderr == f"{out / 'state.pt'} is damaged: the run goes on with the state before it\n"
    assert f"{out}: step 1 of 4" in done.stdout
    for name in ("state.pt", "state.previous.pt"):
        (out / name).write_bytes(b"no state")
    failed = go_on(out)
    assert failed.exit_code == 1
    assert failed.stderr.startswith(f"error: {out}: state.pt and state.previous.pt can't be read: put back a")


def test_damaged_settings_are_named_with_their_file(begun: Path, pictures: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(begun, tmp_path / "run"))
    (out / "config.toml").write_bytes(b"\xff")
    failed = go_on(out)
    assert failed.stderr.startswith(f"error: {out / 'config.toml'}: expected ")
    own = begin(pictures, tmp_path / "other", "--config", out / "config.toml")
    assert own.stderr.startswith(f"error: {out / 'config.toml'}: expected TOML in UTF-8: ")


def test_held_out_pictures_are_not_trained_on(pictures: Path, tmp_path: Path) -> None:
    """By whatever name: here by a link."""
    (tmp_path / "link").symlink_to(pictures / "more")
    out = tmp_path / "run"
    done = begin(pictures, out, "--set", f"held_out={tmp_path / 'link'}")
    assert (done.exit_code, done.stderr) == (
        0,
        "held out: 4 of 12 pictures are held out and not trained on\n",
    )
    (tmp_path / "same").symlink_to(pictures)
    failed = begin(pictures, tmp_path / "other", "--set", f"held_out={tmp_path / 'same'}")
    assert failed.exit_code == 1
    assert failed.stderr.startswith("error: held_out: all 12 pictures to train on are held out; expected")
    assert not (tmp_path / "other").exists()

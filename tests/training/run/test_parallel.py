"""Runs that several processes share, that keep fewer activations, or that are compiled: the same losses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from typer.testing import CliRunner

from model import get_preset, load_checkpoint
from model.config import DECODER_HEADS
from tests.service.fleet.cluster import free_port
from training.cli import app
from training.config import RunConfig
from training.data.pictures import picture_batches
from training.recipes import get_recipe
from training.run.processes import Processes
from training.run.trainer import Trainer

pytestmark = pytest.mark.long

CPU = Processes(0, 1, torch.device("cpu"))
ENVIRONMENT = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "localhost"]
TORCHRUN += ["--nproc-per-node", "2"]
COMPILING = ENVIRONMENT | {
    # For every shape the same kernels from the beginning; else they are built for the first one, too.
    "TORCH_COMPILE_OVERRIDE_DYNAMO_CONFIGS": "0-99:assume_static_by_default=False",
    # What the processor says of its vectors is believed; else each kind is tried by a compiler and a process.
    "TORCHINDUCTOR_VEC_ISA_OK": "1",
}
THREE = {"steps": 3, "local_crops": 0}


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "images_per_second"} for line in lines]


def held_out(folder: Path) -> list[dict[str, Any]]:
    path = folder / "validation.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def train(
    start: list[str],
    pictures: Path,
    out: Path,
    *settings: str,
    environment: Mapping[str, str] = ENVIRONMENT,
) -> str:
    chosen = [part for setting in ("training.bf16=false", *settings) for part in ("--set", setting)]
    goal = ["--pictures", str(pictures), "--preset", "debug", "--out", str(out)]
    command = [*start, "-m", "training.cli", "run", *goal, *chosen]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            told, errors = process.communicate()
        except BaseException:  # the test's time is over
            process.terminate()  # torchrun ends the processes that it started
            raise
    assert process.returncode == 0, told + errors
    return told


def resumed_with_another(run: Path, setting: str) -> str:
    """What the first of two processes told that went on with a run: this one, which has PyTorch loaded."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "GLOO_SOCKET_IFNAME": "lo"}
    environment = ENVIRONMENT | meeting | {"WORLD_SIZE": "2"}
    arguments = ["run", "--out", str(run), "--resume", "--set", setting]
    command = [sys.executable, "-m", "training.cli", *arguments]
    with subprocess.Popen(command, env=environment | {"RANK": "1", "LOCAL_RANK": "1"}) as other:
        try:
            own = environment | {"RANK": "0", "LOCAL_RANK": "0"}
            done = CliRunner().invoke(app, arguments, env=own)
            assert done.exit_code == 0, done.output
            assert other.wait() == 0
        finally:
            other.kill()
    return done.stdout


def same_run(one: Path, other: Path) -> None:
    for line, expected in zip(metrics(one), metrics(other), strict=True):
        assert line == pytest.approx(expected, rel=2e-3, abs=1e-5)
    got, wanted = (load_checkpoint(run / "checkpoint.safetensors").state_dict() for run in (one, other))
    for name, tensor in got.items():
        torch.testing.assert_close(tensor, wanted[name], atol=2e-3, rtol=0, msg=name)
    for line, expected in zip(held_out(one), held_out(other), strict=True):
        assert line == pytest.approx(expected, rel=2e-3, abs=1e-5)


def same_state(one: Path, other: Path) -> None:
    """Weights and what the optimizer has seen: whole ones, whoever saved them."""
    got, wanted = (torch.load(run / "state.pt", map_location="cpu") for run in (one, other))
    assert got["optimizer"]["param_groups"] == wanted["optimizer"]["param_groups"]
    for each in (got, wanted):
        del each["optimizer"]["param_groups"]
    for part in ("objective", "optimizer"):
        torch.testing.assert_close(got[part], wanted[part], atol=2e-3, rtol=2e-3)


def test_two_processes_train_as_one_with_the_same_batch_and_resume(pictures: Path, tmp_path: Path) -> None:
    """Targets are balanced over the tokens of both, and every picture has the draws that it has alone.

    Sharded or not: FSDP goes on with the state that DDP saved after step 4, and saves the same.
    """
    settings = {"teacher": True, "local_crops": 1, "held_out_share": 0.5, "held_out_pictures": 4}
    settings |= {"validate_every": 4, "save_every": 4}
    alone, two = tmp_path / "one", tmp_path / "two"
    Trainer(run_config(pictures, **settings, batch_size=6), alone, CPU).run()
    given = [f"training.{name}={json.dumps(value)}" for name, value in settings.items()]
    told = train(TORCHRUN, pictures, two, *given, "training.batch_size=3", "training.parallel=ddp")
    assert told.count("on cpu, 2 processes") == 1
    assert [line["step"] for line in held_out(two)] == [0, 4, 8]
    same_run(two, alone)
    same_state(two, alone)
    (two / "state.pt").unlink()  # the one before it stays
    assert "step 4 of 8" in resumed_with_another(two, "training.parallel=fsdp")
    same_run(two, alone)
    same_state(two, alone)


def run_config(pictures: Path, **overrides: object) -> RunConfig:
    training = get_recipe("debug", bf16=False, **overrides)
    return RunConfig(pictures=str(pictures), model=get_preset("debug"), training=training)


@pytest.fixture(scope="module")
def plain(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps without any option, of a model whose blocks are of one size, which saves kernels.

    So do views without small crops: of these CLS alone is computed, for which blocks are compiled once more.
    """
    folder = tmp_path_factory.mktemp("runs") / "plain"
    Trainer(of_one_size(run_config(pictures, **THREE)), folder, CPU).run()
    return folder


def of_one_size(config: RunConfig) -> RunConfig:
    model = config.model
    sizes = {"decoder_width": model.width, "decoder_mlp_width": model.mlp_width, "num_heads": DECODER_HEADS}
    return replace(config, model=replace(model, **sizes))  # type: ignore[arg-type]


def test_activations_that_are_computed_again_change_no_loss(
    pictures: Path, plain: Path, tmp_path: Path
) -> None:
    config = run_config(pictures, **THREE, activation_checkpointing=True)
    Trainer(of_one_size(config), tmp_path, CPU).run()
    same_run(tmp_path, plain)


def test_compiled_blocks_change_no_loss(pictures: Path, plain: Path, tmp_path: Path) -> None:
    start = [python_in(tmp_path / "environment")]
    model = of_one_size(run_config(pictures)).model
    names = ("decoder_width", "decoder_mlp_width", "num_heads")
    sizes = [f"model.{name}={getattr(model, name)}" for name in names]
    views = [f"training.{name}={value}" for name, value in THREE.items()]
    compiled = (*sizes, *views, "training.compile=true")
    train(start, pictures, tmp_path / "run", *compiled, environment=COMPILING)
    same_run(tmp_path / "run", plain)


def test_compiling_from_a_folder_with_a_space_says_what_is_in_the_way(pictures: Path, tmp_path: Path) -> None:
    command = [python_in(tmp_path / "my environment"), "-m", "training.cli", "run", "--preset", "debug"]
    command += ["--pictures", str(pictures), "--out", str(tmp_path / "run"), "--set", "training.compile=true"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: compile: on a CPU, torch calls a C++ compiler")


def python_in(folder: Path) -> str:
    """The environment's Python, by a path of its own."""
    if not folder.exists():
        folder.symlink_to(sys.prefix)
    return str(folder / "bin" / "python")


def test_activations_are_computed_again_instead_of_being_kept(pictures: Path, tmp_path: Path) -> None:
    """Counted by what autograd keeps for the backward pass."""
    kept = []
    for checkpointing in (False, True):
        config = run_config(pictures, activation_checkpointing=checkpointing)
        trainer, saved = Trainer(config, tmp_path / str(checkpointing), CPU), [0]

        def pack(tensor: torch.Tensor, saved: list[int] = saved) -> torch.Tensor:
            saved[0] += tensor.numel()
            return tensor

        batches = picture_batches(trainer.stream, batch_size=4, size=40, workers=1)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            trainer._losses(0, next(batches))
        batches.close()
        kept.append(saved[0])
    assert kept[1] < 0.6 * kept[0]


def test_accumulated_batches_give_the_step_of_their_mean_gradient(pictures: Path, tmp_path: Path) -> None:
    config = run_config(pictures, steps=1, accumulation=2)
    trainer = Trainer(config, tmp_path / "run", CPU)
    trainer.run()
    by_hand = Trainer(config, tmp_path / "hand", CPU)
    batches = picture_batches(by_hand.stream, batch_size=4, size=40, workers=1)
    losses = [by_hand._losses(number, next(batches)).total for number in range(2)]
    batches.close()
    (sum(losses) / 2).backward()  # type: ignore[union-attr]
    clip_grad_norm_(by_hand.objective.parameters(), config.training.gradient_clip)
    assert isinstance(by_hand.optimizer, AdamW)
    for group in by_hand.optimizer.param_groups:
        group["lr"] = metrics(tmp_path / "run")[0]["learning_rate"]
    by_hand.optimizer.step()
    assert metrics(tmp_path / "run")[0]["loss"] == pytest.approx(sum(x.item() for x in losses) / 2)
    expected = by_hand.objective.state_dict()
    for name, tensor in trainer.objective.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], msg=name)


def test_autoencoding_is_trained_by_the_same_loop(pictures: Path, tmp_path: Path) -> None:
    config = run_config(pictures, steps=60, log_every=59, objective="mae", mask_ratio=0.5, learning_rate=3e-3)
    Trainer(config, tmp_path, CPU).run()
    first, last = metrics(tmp_path)
    assert last["reconstruction"] < 0.6 * first["reconstruction"]


def test_a_run_starts_from_a_vit_mae_encoder(pictures: Path, tmp_path: Path, fixtures: Path) -> None:
    config = run_config(pictures)
    config = RunConfig(
        pictures=config.pictures,
        vit_mae=str(fixtures / "vit-mae.weights.safetensors"),
        model=config.model,
        training=config.training,
    )
    plain, started = Trainer(run_config(pictures), tmp_path, CPU), Trainer(config, tmp_path, CPU)
    assert not torch.equal(
        started.objective.model.embedding.positions, plain.objective.model.embedding.positions
    )
    assert torch.equal(started.objective.model.sparse_tokens, plain.objective.model.sparse_tokens)

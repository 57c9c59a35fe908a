"""Whole runs of the debug model: what they write, how they resume, and what stops them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from model import Stellar, Vqgan, get_preset, load_checkpoint, save_checkpoint
from model.config import Head
from training.config import DistillationConfig, RunConfig
from training.errors import DivergedError
from training.loss_weights import DISTILLED, LossWeights
from training.recipes import get_recipe
from training.run.processes import Processes
from training.run.trainer import Trainer

CPU = Processes(0, 1, torch.device("cpu"))


def run_config(pictures: Path, **overrides: object) -> RunConfig:
    return RunConfig(
        pictures=str(pictures), model=get_preset("debug"), training=get_recipe("debug", **overrides)
    )


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "images_per_second"} for line in lines]


def folder_below(path: Path, name: str) -> Path:
    (path / name).mkdir()
    return path / name


def test_a_run_leaves_config_metrics_state_and_a_checkpoint(pictures: Path, tmp_path: Path) -> None:
    config = run_config(pictures)
    assert Trainer(config, tmp_path, CPU).run()
    lines = metrics(tmp_path)
    assert [line["step"] for line in lines] == list(range(8))
    assert {"loss", "reconstruction", "local_cls", "learning_rate", "gradient_norm"} < set(lines[0])
    assert load_checkpoint(tmp_path / "checkpoint.safetensors").config == config.model
    assert (tmp_path / "state.pt").is_file()


def test_losses_fall(pictures: Path, tmp_path: Path) -> None:
    losses = get_recipe("debug").losses.only("reconstruction", "koleo")
    config = run_config(pictures, steps=60, log_every=59, save_every=60, losses=losses, learning_rate=3e-3)
    Trainer(config, tmp_path, CPU).run()
    first, last = metrics(tmp_path)
    assert last["reconstruction"] < 0.5 * first["reconstruction"]


TAUGHT = {
    "losses": LossWeights(numbering=0.5, **dict.fromkeys(DISTILLED, 1.0)),
    "distillation": DistillationConfig(teacher="tests.training.teachers:map_teacher", size=16),
    "mixing": 0.5,
    "reference_colour_strength": 0.5,
}


def test_a_teachers_heads_learn_and_are_no_part_of_the_checkpoint(pictures: Path, tmp_path: Path) -> None:
    config = run_config(pictures, steps=60, log_every=59, save_every=60, learning_rate=3e-3, **TAUGHT)
    Trainer(config, tmp_path, CPU).run()
    first, last = metrics(tmp_path)
    for name in DISTILLED:
        assert last[name] < 0.8 * first[name], name
    checkpoint = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert set(checkpoint.state_dict()) == set(Stellar(get_preset("debug")).state_dict())


@pytest.mark.parametrize("options", [{}, {"teacher": True}, TAUGHT], ids=["alone", "average", "pretrained"])
def test_a_run_that_lost_its_last_steps_repeats_them_exactly(
    pictures: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    config = run_config(pictures, **options)
    Trainer(config, tmp_path, CPU).run()
    whole = metrics(tmp_path)
    weights = load_checkpoint(tmp_path / "checkpoint.safetensors").state_dict()
    # The newest state is gone, as after a crash: the one before it is of step 4.
    (tmp_path / "state.pt").unlink()
    again = Trainer(config, tmp_path, CPU)
    assert again.progress.step == 4
    assert again.run()
    assert metrics(tmp_path) == whole
    for name, tensor in load_checkpoint(tmp_path / "checkpoint.safetensors").state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_a_later_stage_starts_from_the_weights_of_an_earlier_one(pictures: Path, tmp_path: Path) -> None:
    torch.manual_seed(9)
    model = Stellar(get_preset("debug"))
    save_checkpoint(model, tmp_path / "first.safetensors")
    config = replace(run_config(pictures), init=str(tmp_path / "first.safetensors"))
    started = Trainer(config, folder_below(tmp_path, "second"), CPU).objective.model
    assert torch.equal(started.sparse_tokens, model.sparse_tokens)


def test_weights_of_another_architecture_are_refused(pictures: Path, tmp_path: Path) -> None:
    save_checkpoint(Stellar(get_preset("debug", depth=1)), tmp_path / "other.safetensors")
    config = replace(run_config(pictures), init=str(tmp_path / "other.safetensors"))
    with pytest.raises(ValueError, match=r"init: .*other\.safetensors has depth 1, not 2$"):
        Trainer(config, tmp_path, CPU)


def test_a_vq_head_asks_for_its_vqgan(pictures: Path, tmp_path: Path) -> None:
    config = replace(run_config(pictures), model=get_preset("debug", head="vq", vqgan_channels=32))
    with pytest.raises(ValueError, match="vqgan: a VQ head learns"):
        Trainer(config, tmp_path, CPU)


def test_a_vq_run_takes_its_vqgan_from_a_file_and_leaves_it_as_it_is(pictures: Path, tmp_path: Path) -> None:
    model = get_preset("debug", head="vq", image_size=32, patch_size=16, vqgan_channels=32)
    torch.manual_seed(3)
    vqgan = Vqgan(32).state_dict()
    save_file(vqgan, tmp_path / "vqgan.safetensors")
    config = run_config(pictures, steps=2, mask_ratio=0.5)
    config = replace(config, model=model, vqgan=str(tmp_path / "vqgan.safetensors"))
    assert Trainer(config, tmp_path, CPU).run()
    trained = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert trained.tokenizer is not None
    for name, tensor in trained.tokenizer.state_dict().items():
        assert torch.equal(tensor, vqgan[name]), name
    assert metrics(tmp_path)[0]["reconstruction"] == pytest.approx(math.log(1024), rel=0.2)


def test_a_loss_that_is_not_finite_changes_nothing_and_stops_the_run_in_the_end(
    pictures: Path, tmp_path: Path
) -> None:
    model = Stellar(get_preset("debug"))
    with torch.no_grad():
        model.sparse_tokens[0, 0] = math.nan
    save_checkpoint(model, tmp_path / "broken.safetensors")
    config = replace(run_config(pictures, max_skipped=3), init=str(tmp_path / "broken.safetensors"))
    trainer = Trainer(config, tmp_path, CPU)
    before = {name: tensor.clone() for name, tensor in trainer.objective.model.state_dict().items()}
    with pytest.raises(DivergedError, match="3 steps in a row"):
        trainer.run()
    assert [(line["skipped"], line["loss"]) for line in metrics(tmp_path)] == [
        (1, None),
        (2, None),
        (3, None),
    ]
    for name, tensor in trainer.objective.model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], equal_nan=True, atol=0, rtol=0)
    assert not (tmp_path / "state.pt").exists()


def test_one_bad_step_is_skipped_and_the_run_goes_on(pictures: Path, tmp_path: Path) -> None:
    trainer = Trainer(run_config(pictures), tmp_path, CPU)
    calls = iter(range(8))

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        return gradient * math.inf if next(calls) == 2 else gradient

    trainer.objective.model.factorization.dense_proj.bias.register_hook(spoil)  # type: ignore[no-untyped-call]
    assert trainer.run()
    assert [line["skipped"] for line in metrics(tmp_path)] == [0, 0, 1, 1, 1, 1, 1, 1]
    assert all(parameter.isfinite().all() for parameter in trainer.objective.model.parameters())


@pytest.mark.parametrize("head", ["pixel", "vq"])
def test_the_moving_average_is_a_checkpoint_of_its_own(pictures: Path, tmp_path: Path, head: Head) -> None:
    model = get_preset("debug", patch_size=16)
    if head == "vq":
        model = replace(model, head="vq", vqgan_channels=32)
    torch.manual_seed(9)
    save_checkpoint(Stellar(model), tmp_path / "start.safetensors")
    config = run_config(pictures, steps=1, teacher=True, teacher_momentum=0.75, mask_ratio=0.5)
    Trainer(replace(config, model=model, init=str(tmp_path / "start.safetensors")), tmp_path, CPU).run()
    start, learnt, average = (
        load_checkpoint(tmp_path / f"{name}.safetensors").state_dict()
        for name in ("start", "checkpoint", "teacher")
    )
    for name, tensor in average.items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, start[name].lerp(learnt[name], 0.25)), name
    assert not torch.equal(average["decoder.projection.weight"], learnt["decoder.projection.weight"])


def test_unreadable_files_are_counted_in_the_metrics(pictures: Path, tmp_path: Path) -> None:
    mixed = folder_below(tmp_path, "mixed")
    (mixed / "good.png").write_bytes((pictures / "1.png").read_bytes())
    (mixed / "bad.png").write_bytes(b"no picture")
    Trainer(run_config(mixed, steps=2), tmp_path, CPU).run()
    assert [line["unreadable"] for line in metrics(tmp_path)] == [2, 4]


def test_biases_norms_tokens_and_positions_do_not_decay(pictures: Path, tmp_path: Path) -> None:
    trainer = Trainer(run_config(pictures), tmp_path, CPU)
    names = {id(parameter): name for name, parameter in trainer.objective.model.named_parameters()}
    decayed, others = trainer.optimizer.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.04, 0.0)
    free = {names[id(parameter)] for parameter in others["params"]}
    assert {"sparse_tokens", "embedding.cls_token", "embedding.positions", "transformer.norm.weight"} <= free
    assert not any(names[id(parameter)].endswith("bias") for parameter in decayed["params"])
    assert "clustering_head.prototypes.weight" in {names[id(parameter)] for parameter in decayed["params"]}
    assert len(names) == len(decayed["params"]) + len(free)

"""What a step changes of a model: frozen parts nothing, lower layers less, and both to the last bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from model import Stellar, get_preset, load_checkpoint, save_checkpoint
from training.config import Part, RunConfig
from training.recipes import get_recipe
from training.run.processes import Processes
from training.run.trainer import Trainer

CPU = Processes(0, 1, torch.device("cpu"))
Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to go on from."""
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    torch.manual_seed(4)
    save_checkpoint(Stellar(get_preset("debug")), path)
    return path


def run_config(pictures: Path, start: Path, **overrides: object) -> RunConfig:
    recipe = get_recipe("debug", warmup_share=0.0, **overrides)
    return RunConfig(pictures=str(pictures), init=str(start), model=get_preset("debug"), training=recipe)


def trained(config: RunConfig, folder: Path) -> Weights:
    assert Trainer(config, folder, CPU).run()
    return weights(folder / "checkpoint.safetensors")


def weights(checkpoint: Path) -> Weights:
    return dict(load_checkpoint(checkpoint).named_parameters())


def unchanged(before: Weights, after: Weights) -> set[str]:
    return {name for name, tensor in before.items() if torch.equal(tensor, after[name])}


def named(names: Weights, *beginnings: str) -> set[str]:
    return {name for name in names if name.startswith(beginnings)}


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, ()),
        ({"frozen_layers": 1}, ("embedding.", "sparse_tokens", "transformer.blocks.0.")),
        ({"frozen": ("decoder", "sparse_tokens")}, ("decoder.", "sparse_tokens")),
        ({"frozen": ("cls_cluster_head",), "layer_decay": 0.5}, ("cls_cluster_head.",)),
    ],
)
def test_what_is_frozen_stays_to_the_last_bit_and_all_else_learns(
    pictures: Path, start: Path, tmp_path: Path, settings: dict[str, object], kept: tuple[str, ...]
) -> None:
    before = weights(start)
    after = trained(run_config(pictures, start, steps=3, **settings), tmp_path)
    assert unchanged(before, after) == (named(before, *kept) if kept else set())


def test_a_layer_learns_as_fast_as_with_its_share_of_the_rate(
    pictures: Path, start: Path, tmp_path: Path
) -> None:
    """Of one step, whose gradients are the same: halves of a rate are exact."""
    shares = {
        1.0: ("factorization.", "decoder.", "clustering_head.", "transformer.norm."),
        0.5: ("transformer.blocks.1.",),
        0.25: ("transformer.blocks.0.",),
        0.125: ("embedding.", "sparse_tokens"),
    }
    decayed = trained(run_config(pictures, start, steps=1, layer_decay=0.5), tmp_path / "decayed")
    for share, beginnings in shares.items():
        config = run_config(pictures, start, steps=1, learning_rate=1e-3 * share)
        same = unchanged(decayed, trained(config, tmp_path / str(share)))
        for beginning in beginnings:
            assert named(decayed, beginning) <= same
        others = [name for other, names in shares.items() if other != share for name in names]
        assert not same & named(decayed, *others)


def test_nothing_is_kept_for_a_backward_pass_through_frozen_layers(
    pictures: Path, start: Path, tmp_path: Path
) -> None:
    kept = []
    for layers in (0, 2):
        trainer = Trainer(run_config(pictures, start, frozen_layers=layers), tmp_path, CPU)
        model, saved = trainer.objective.model, [0]

        def pack(tensor: Tensor, saved: list[int] = saved) -> Tensor:
            saved[0] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.encode(torch.rand(2, 3, 32, 32))
        kept.append(saved[0])
    assert kept[1] < 0.1 * kept[0]


def test_a_run_goes_on_with_other_layers_frozen_and_another_decay(
    pictures: Path, start: Path, tmp_path: Path
) -> None:
    first = trained(run_config(pictures, start, steps=2, frozen=("decoder",)), tmp_path)
    again = run_config(pictures, start, steps=4, frozen_layers=2, layer_decay=0.5, weight_decay=0.5)
    trainer = Trainer(again, tmp_path, CPU)
    assert {group["weight_decay"] for group in trainer.optimizer.param_groups} == {0.0, 0.5}
    assert trainer.run()
    second = weights(tmp_path / "checkpoint.safetensors")
    assert unchanged(first, second) == named(first, "embedding.", "sparse_tokens", "transformer.blocks.")


def test_a_run_in_which_nothing_can_learn_says_so(pictures: Path, start: Path, tmp_path: Path) -> None:
    heads = ("clustering_head", "cls_cluster_head")
    parts = tuple(part for part in get_args(Part) if part not in heads)
    config = run_config(pictures, start, frozen=(*parts, *heads))
    with pytest.raises(ValueError, match="frozen: expected something that learns, got all parts"):
        Trainer(config, tmp_path, CPU)
    losses = config.training.losses.only("reconstruction")
    unreached = replace(config, training=replace(config.training, frozen=parts, losses=losses))
    with pytest.raises(ValueError, match="frozen: expected something that a loss with a weight reaches"):
        Trainer(unreached, tmp_path, CPU).run()
    with pytest.raises(ValueError, match="frozen_layers: expected at most the encoder's 2, got 3"):
        run_config(pictures, start, frozen_layers=3)
    with pytest.raises(ValueError, match=r"layer_decay: expected a number above 0 and at most 1, got 1\.5"):
        get_recipe("debug", layer_decay=1.5)

"""A run's state on disk."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.optim import AdamW

from model import Stellar, get_preset, load_checkpoint
from training.config import get_recipe
from training.objective import Objective
from training.state import Progress, load_state, save_state


def parts(seed: int) -> tuple[Objective, AdamW]:
    torch.manual_seed(seed)
    objective = Objective(Stellar(get_preset("debug")), get_recipe("debug", teacher=True))
    optimizer = AdamW(objective.model.parameters(), fused=True)
    for parameter in objective.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return objective, optimizer


def test_everything_comes_back(tmp_path: Path) -> None:
    objective, optimizer = parts(0)
    save_state(tmp_path, objective, optimizer, Progress(7, 1, 2))
    other, other_optimizer = parts(1)
    assert load_state(tmp_path, other, other_optimizer) == Progress(7, 1, 2)
    for name, tensor in objective.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    for mine, theirs in zip(optimizer.state.values(), other_optimizer.state.values(), strict=True):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_the_checkpoint_beside_it_is_the_model(tmp_path: Path) -> None:
    objective, optimizer = parts(0)
    save_state(tmp_path, objective, optimizer, Progress(1, 0, 0))
    loaded = load_checkpoint(tmp_path / "checkpoint.safetensors").state_dict()
    for name, tensor in objective.model.state_dict().items():
        assert torch.equal(loaded[name], tensor), name


def test_a_state_cut_off_while_written_falls_back_to_the_one_before(tmp_path: Path) -> None:
    objective, optimizer = parts(0)
    save_state(tmp_path, objective, optimizer, Progress(4, 0, 0))
    save_state(tmp_path, objective, optimizer, Progress(8, 0, 0))
    whole = (tmp_path / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes(whole[: len(whole) // 2])
    assert load_state(tmp_path, *parts(1)) == Progress(4, 0, 0)


def test_an_empty_folder_starts_at_step_zero(tmp_path: Path) -> None:
    assert load_state(tmp_path, *parts(0)) == Progress(0, 0, 0)


def test_no_half_written_file_is_left_behind(tmp_path: Path) -> None:
    objective, optimizer = parts(0)
    save_state(tmp_path, objective, optimizer, Progress(1, 0, 0))
    assert {path.name for path in tmp_path.iterdir()} == {"state.pt", "checkpoint.safetensors"}

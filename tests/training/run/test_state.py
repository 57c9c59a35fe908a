"""A run's state on disk."""

from __future__ import annotations

import pickle
import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.optim import AdamW

from model import Stellar, get_preset, load_checkpoint
from training.config_file import preset_run
from training.losses.objective import Objective
from training.recipes import get_recipe
from training.run.processes import Processes
from training.run.state import Progress, RunState, read_state, restore, save_state

ALONE = Processes(0, 1, torch.device("cpu"))
RUN = preset_run("debug", {"pictures": "pictures"})


def save(folder: Path, objective: Objective, optimizer: AdamW, progress: Progress) -> None:
    state = RunState(progress, {"taken": 12})
    save_state(folder, objective, optimizer, state, RUN, ALONE)


def load(folder: Path, objective: Objective, optimizer: AdamW, processes: Processes) -> RunState:
    saved, _ = read_state(folder)
    assert saved is not None
    return restore(saved, folder, objective, optimizer, processes)


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
    save(tmp_path, objective, optimizer, Progress(7, 1, 2))
    other, other_optimizer = parts(1)
    assert load(tmp_path, other, other_optimizer, ALONE) == (Progress(7, 1, 2), {"taken": 12})
    for name, tensor in objective.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    for mine, theirs in zip(optimizer.state.values(), other_optimizer.state.values(), strict=True):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_the_checkpoint_beside_it_is_the_model(tmp_path: Path) -> None:
    objective, optimizer = parts(0)
    save(tmp_path, objective, optimizer, Progress(1, 0, 0))
    loaded = load_checkpoint(tmp_path / "checkpoint.safetensors").state_dict()
    for name, tensor in objective.model.state_dict().items():
        assert torch.equal(loaded[name], tensor), name


def test_a_state_cut_off_while_written_falls_back_to_the_one_before(tmp_path: Path) -> None:
    objective, optimizer = parts(0)
    save(tmp_path, objective, optimizer, Progress(4, 0, 0))
    save(tmp_path, objective, optimizer, Progress(8, 0, 0))
    whole = (tmp_path / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes(whole[: len(whole) // 2])
    assert load(tmp_path, *parts(1), ALONE).progress == Progress(4, 0, 0)


def test_an_empty_folder_holds_no_state(tmp_path: Path) -> None:
    assert read_state(tmp_path) == (None, "")


@pytest.mark.parametrize("content", [b"", b"state", pickle.dumps({"progress": 1}), b"\x80\x05."])
def test_damaged_states_are_named_and_no_run_begins_anew(tmp_path: Path, content: bytes) -> None:
    save(tmp_path, *parts(0), Progress(4, 0, 0))
    save(tmp_path, *parts(0), Progress(8, 0, 0))
    (tmp_path / "state.pt").write_bytes(content)
    saved, told = read_state(tmp_path)
    assert saved is not None
    assert told == f"{tmp_path / 'state.pt'} is damaged: the run goes on with the state before it"
    (tmp_path / "state.previous.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"state\.pt and state\.previous\.pt can't be read: put back a copy"):
        read_state(tmp_path)


def test_no_half_written_file_is_left_behind(tmp_path: Path) -> None:
    objective, optimizer = parts(0)
    save(tmp_path, objective, optimizer, Progress(1, 0, 0))
    assert {path.name for path in tmp_path.iterdir()} == {"state.pt", "checkpoint.safetensors"}


def test_a_state_of_another_architecture_or_of_more_processes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    save(tmp_path, *parts(0), Progress(1, 0, 0))
    deeper = Objective(Stellar(get_preset("debug", depth=3)), get_recipe("debug"))
    with pytest.raises(ValueError, match="of another model or recipe"):
        load(tmp_path, deeper, AdamW(deeper.parameters()), ALONE)
    alone = Objective(Stellar(get_preset("debug")), get_recipe("debug"))
    save(tmp_path / "alone", alone, AdamW(alone.parameters()), Progress(1, 0, 0))
    with pytest.raises(ValueError, match="it has no teacher"):
        load(tmp_path / "alone", *parts(0), ALONE)
    with pytest.raises(ValueError, match="saved by 1 processes and goes on with as many, got 2"):
        load(tmp_path, *parts(0), Processes(0, 2, torch.device("cpu")))


def test_a_file_that_cannot_be_written_whole_leaves_the_states_before_it(tmp_path: Path) -> None:
    objective, optimizer = parts(0)
    save(tmp_path, objective, optimizer, Progress(4, 0, 0))
    whole = (tmp_path / "state.pt").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole // 2, hard))
    try:
        with pytest.raises(OSError, match=r"after step 8 could not be written .* --resume goes on"):
            save(tmp_path, objective, optimizer, Progress(8, 0, 0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert {path.name for path in tmp_path.iterdir()} == {"state.pt", "checkpoint.safetensors"}
    assert load(tmp_path, *parts(1), ALONE).progress == Progress(4, 0, 0)


def test_the_last_checkpoints_are_kept_by_their_steps(tmp_path: Path) -> None:
    objective, optimizer = parts(0)
    settings = replace(RUN, training=replace(RUN.training, keep_checkpoints=2))
    for step in (9, 10, 11):
        with torch.no_grad():
            objective.model.sparse_tokens.fill_(step)
        save_state(tmp_path, objective, optimizer, RunState(Progress(step, 0, 0), None), settings, ALONE)
    named = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert named == ["checkpoint-0000010.safetensors", "checkpoint-0000011.safetensors"]
    assert [load_checkpoint(tmp_path / name).sparse_tokens[0, 0].item() for name in named] == [10, 11]

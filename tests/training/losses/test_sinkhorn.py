"""Sinkhorn-Knopp against reference tensors, its own sums, and itself on two ranks."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing import get_context

from training.losses.sinkhorn import sinkhorn


def test_reference_assignments(unit: dict[str, Tensor]) -> None:
    torch.testing.assert_close(sinkhorn(unit["sinkhorn.in"]), unit["sinkhorn.out"], atol=2e-6, rtol=0)
    one = sinkhorn(unit["sinkhorn.in"], num_iterations=1)
    torch.testing.assert_close(one, unit["sinkhorn.out_iter1"], atol=2e-6, rtol=0)


def test_rows_sum_to_one_and_columns_become_equally_full() -> None:
    scores = torch.randn(60, 20, generator=torch.Generator().manual_seed(0)) * 3
    assignments = sinkhorn(scores, num_iterations=200)
    torch.testing.assert_close(assignments.sum(1), torch.ones(60))
    torch.testing.assert_close(assignments.sum(0), torch.full((20,), 3.0), atol=1e-2, rtol=0)


def test_huge_scores_stay_finite() -> None:
    assert sinkhorn(torch.tensor([[1e4, -1e4], [2e4, 0.0]])).isfinite().all()


def _on_a_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    scores = torch.load(f"{folder}/scores.pt")
    torch.save(sinkhorn(scores.chunk(2)[rank]), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_assign_their_tokens_jointly(tmp_path: Path) -> None:
    scores = torch.randn(10, 6, generator=torch.Generator().manual_seed(1)) * 4
    torch.save(scores, tmp_path / "scores.pt")
    other = get_context("spawn").Process(target=_on_a_rank, args=(1, str(tmp_path)))
    other.start()
    _on_a_rank(0, str(tmp_path))
    other.join()
    assert other.exitcode == 0
    together = torch.cat([torch.load(tmp_path / "0.pt"), torch.load(tmp_path / "1.pt")])
    torch.testing.assert_close(together, sinkhorn(scores))
    assert not torch.allclose(together[:5], sinkhorn(scores[:5]), atol=1e-3)

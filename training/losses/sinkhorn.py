"""Balanced soft assignments of tokens to prototypes, by Sinkhorn-Knopp (Caron et al. 2020, SwAV).

T tokens · K prototypes
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

EPS = 1e-8


@torch.no_grad()
def sinkhorn(scores: Float[Tensor, "T K"], num_iterations: int = 3) -> Float[Tensor, "T K"]:
    """Assignments whose rows sum to 1 and whose columns are about equally full.

    `scores` are logits already divided by the targets' temperature. Each iteration divides by column sums and
    then by row sums. Where torch.distributed runs, columns reach over the tokens of all ranks.
    """
    scores = scores.float()
    peaks = _reduced(scores.amax(dim=0, keepdim=True), dist.ReduceOp.MAX)  # (1, K)
    assignments = (scores - peaks).exp()
    for _ in range(num_iterations):
        column_sums = _reduced(assignments.sum(dim=0, keepdim=True), dist.ReduceOp.SUM)
        assignments = assignments / (column_sums + EPS)
        assignments = assignments / (assignments.sum(dim=1, keepdim=True) + EPS)
    return assignments


def _reduced(columns: Float[Tensor, "1 K"], operation: dist.ReduceOp.RedOpType) -> Float[Tensor, "1 K"]:
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(columns, op=operation)
    return columns

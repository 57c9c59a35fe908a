"""Which reference token each token of another view stands for, by entropic transport (Cuturi 2013).

B batch · P predicted tokens · r target tokens · D width
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

EPSILON = 0.1


@torch.no_grad()
def transport_plan(
    predicted: Float[Tensor, "B P D"], targets: Float[Tensor, "B r D"], num_iterations: int = 5
) -> Float[Tensor, "B P r"]:
    """How much of each predicted token goes to each target; columns sum to P / r, rows nearly to 1.

    The cost is the Euclidean distance of the raw tokens; the iterations run on logarithms, in float32.
    """
    with torch.autocast(predicted.device.type, enabled=False):
        affinity = torch.cdist(predicted.float(), targets.float()) / -EPSILON
    num_predicted, num_targets = affinity.shape[1:]
    columns = affinity.new_zeros(affinity.shape[0], 1, num_targets)
    for _ in range(num_iterations):
        rows = -(affinity + columns).logsumexp(dim=2, keepdim=True)
        columns = math.log(num_predicted / num_targets) - (affinity + rows).logsumexp(dim=1, keepdim=True)
    return (affinity + rows + columns).exp()


def match(predicted: Float[Tensor, "B P D"], targets: Float[Tensor, "B r D"]) -> Int[Tensor, "B P"]:
    """For each predicted token the target that gets most of it; several may share one."""
    return transport_plan(predicted, targets).argmax(dim=2)

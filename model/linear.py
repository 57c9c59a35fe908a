"""Linear layers that take the fastest way to a float32 product on a CPU.

PyTorch sends float32 products to MKL, which leaves half the speed and more of processors that are not Intel's
unused; oneDNN, which PyTorch carries for convolutions and bfloat16, does not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Linear(nn.Linear):
    """PyTorch's linear layer by `linear`; parameters and their names are the same."""

    def forward(self, input: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch C"]:
        return linear(input, self.weight, self.bias)


def linear(
    x: Float[Tensor, "*batch D"], weight: Float[Tensor, "C D"], bias: Float[Tensor, " C"] | None
) -> Float[Tensor, "*batch C"]:
    """x · weightᵀ + bias, and its gradients, in the precision of `x` or of autocast."""
    if not _is_for_onednn(x):
        return F.linear(x, weight, bias)
    return F.linear(x.to_mkldnn(), weight, bias).to_dense()


def _is_for_onednn(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()  # which finds kernels of its own, and exports graphs
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )

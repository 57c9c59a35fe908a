"""Linear layers that take the fastest way to a float32 product on a CPU.

PyTorch sends float32 products to MKL. On some processors that are not Intel's it leaves half the speed and
more unused; oneDNN, which PyTorch carries for convolutions and bfloat16, does not. On an EPYC with AVX-512
(Zen 4) and MKL 2024.2 the two are within a tenth of each other; on Intel's MKL is the faster one
(`python -m tests.benchmarks.float32_products`). Which way is taken depends on the maker alone, not on a
measurement at the start, so that a run that goes on has the same numbers.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

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


@cache
def _is_intel() -> bool:
    """Whether the processor is Intel's, by what Linux tells of it."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "GenuineIntel" in cpuinfo.read_text()


def _is_for_onednn(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()  # which finds kernels of its own, and exports graphs
        and not (_is_intel() and torch.backends.mkl.is_available())  # type: ignore[no-untyped-call]
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )

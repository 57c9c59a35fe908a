"""Attention as the one operator that ONNX Runtime has for it, in place of the products it is made of.

It never holds all shares of all heads at once. TensorRT does not know it.
B batch · T sequence length · D width
"""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from model.vit import Attention, Block

Graph = TypeVar("Graph", bound=nn.Module)


class FusedAttention(nn.Module):
    """`Attention` for an exported graph; it computes nothing in PyTorch."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.qkv = attention.qkv
        self.output = attention.output

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        mixed = torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            self.qkv(x).chunk(3, dim=2),
            {"num_heads": self.num_heads},
            dtype=x.dtype,
            shape=x.shape,
            version=1,
        )
        return self.output(mixed)  # type: ignore[no-any-return]


def with_fused_attention(graph: Graph) -> Graph:
    """A copy of what is to be exported, whose blocks have fused attention."""
    fused = deepcopy(graph)
    for module in fused.modules():
        if isinstance(module, Block):
            module.attention = FusedAttention(module.attention)  # type: ignore[assignment]
    return fused

"""Graphs as ONNX Runtime runs them fastest on a processor, in place of what they compute the same as.

Attention is the one operator that there is for it, which never holds all shares of all heads at once;
TensorRT does not know it. The patches of a picture are one product of its bytes, with scaling and
normalisation in the weights; in fp16 they would be too small.
B batch · H, W pixels · T sequence length · D width
"""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from model.graphs import EncoderGraph
from model.stellar import Stellar
from model.vit import Attention, Block

Graph = TypeVar("Graph", bound=nn.Module)


class FusedAttention(nn.Module):
    """`Attention` for an exported graph; it computes nothing in PyTorch."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.qkv = attention.qkv
        self.output = attention.output

    def forward(self, x: Float[Tensor, "B T D"], first: None = None) -> Float[Tensor, "B T D"]:
        assert first is None, "graphs tell of all tokens"
        mixed = torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            self.qkv(x).chunk(3, dim=2),
            {"num_heads": self.num_heads},
            dtype=x.dtype,
            shape=x.shape,
            version=1,
        )
        return self.output(mixed)  # type: ignore[no-any-return]


class ByteEmbedding(nn.Module):
    """`Stellar.embed` of whole pictures of the model's own size, from their bytes."""

    def __init__(self, model: Stellar) -> None:
        super().__init__()
        embedding = model.embedding
        projection = embedding.projection
        self.patch_size = embedding.patch_size
        weight = projection.weight.detach()  # (D, 3, p, p)
        assert projection.bias is not None
        bias = projection.bias.detach() - (weight * (model.mean / model.std)).sum((1, 2, 3))
        positions = embedding.positions.detach()
        self.weight = (weight / (255 * model.std)).permute(2, 3, 1, 0).flatten(0, 2)  # (p p 3, D)
        self.places = positions[:, 1:] + bias  # (1, N, D)
        self.cls = embedding.cls_token.detach() + positions[:, :1]  # (1, 1, D)

    def forward(self, image: Float[Tensor, "B H W 3"]) -> Float[Tensor, "B T D"]:
        batch, height, width, _ = image.shape
        p = self.patch_size
        tiles = image.reshape(batch, height // p, p, width // p, p, 3).permute(0, 1, 3, 2, 4, 5)
        patches = tiles.flatten(3).flatten(1, 2) @ self.weight + self.places  # (B, N, D)
        return torch.cat([self.cls.expand(batch, -1, -1), patches], dim=1)


def fused(graph: Graph) -> Graph:
    """A copy of what is to be exported, whose blocks have fused attention, and its patches are of bytes."""
    copy = deepcopy(graph)
    for module in copy.modules():
        if isinstance(module, Block):
            module.attention = FusedAttention(module.attention)  # type: ignore[assignment]
    if isinstance(copy, EncoderGraph):
        copy.embedding = ByteEmbedding(copy.model)
    return copy

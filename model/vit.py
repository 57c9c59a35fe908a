"""The pre-norm vision transformer that the encoder and the decoder share.

B batch · T sequence length · F first tokens of it · D width · N patches · H, W pixels ·
h, w patches down and across
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model.config import POSITION_PARTS
from model.linear import Linear, linear

LAYER_NORM_EPS = 1e-12
CLS_STD = 0.02
"""Deviation of CLS at the start."""


class Attention(nn.Module):
    """Multi-head self-attention with biases; queries, keys and values in one matrix."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = Linear(width, 3 * width)
        self.output = Linear(width, width)

    def forward(self, x: Float[Tensor, "B T D"], first: int | None = None) -> Float[Tensor, "B F D"]:
        """What all tokens, or only the `first` ones of the sequence, gather from all."""
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.num_heads, width // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, T, D / heads)
        if first is not None:
            q = q[:, :, :first]
        mixed = _attend(q, k, v).transpose(1, 2).flatten(2)  # (B, F, D)
        return self.output(mixed)  # type: ignore[no-any-return]


def _attend(
    q: Float[Tensor, "B heads F d"], k: Float[Tensor, "B heads T d"], v: Float[Tensor, "B heads T d"]
) -> Float[Tensor, "B heads F d"]:
    """Scaled dot-product attention; in bfloat16 on a CPU as plain products, which are faster there by far."""
    if q.device.type != "cpu" or (q.dtype == torch.float32 and not torch.compiler.is_compiling()):
        return F.scaled_dot_product_attention(q, k, v)
    shares: Tensor = ((q * q.shape[3] ** -0.5) @ k.transpose(2, 3)).softmax(dim=-1)  # (B, heads, F, T)
    return shares.to(v.dtype) @ v


class Block(nn.Module):
    """One transformer layer: attention and MLP, each behind a LayerNorm and beside a shortcut."""

    def __init__(self, width: int, num_heads: int, mlp_width: int) -> None:
        super().__init__()
        self.norm_before = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.attention = Attention(width, num_heads)
        self.norm_after = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.fc1 = Linear(width, mlp_width)
        self.fc2 = Linear(mlp_width, width)

    def forward(self, x: Float[Tensor, "B T D"], first: int | None = None) -> Float[Tensor, "B F D"]:
        """All tokens, or only the `first` ones of the sequence, which know of all."""
        mixed = self.attention(self.norm_before(x), first)
        x = (x if first is None else x[:, :first]) + mixed
        return x + self.fc2(F.gelu(self.fc1(self.norm_after(x))))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """A stack of blocks and the final LayerNorm."""

    def __init__(self, width: int, depth: int, num_heads: int, mlp_width: int) -> None:
        super().__init__()
        self.checkpointing = False
        """Whether training computes a block's activations again instead of keeping them."""
        self.blocks = nn.ModuleList(Block(width, num_heads, mlp_width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)

    def forward(self, x: Float[Tensor, "B T D"], first: int | None = None) -> Float[Tensor, "B F D"]:
        """All tokens, or only the `first` ones of the sequence: the last block computes no others."""
        for block in self.blocks:
            of_these = first if block is self.blocks[-1] else None
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, of_these, use_reentrant=False)
            else:
                x = block(x, of_these)
        return self.norm(x)  # type: ignore[no-any-return]


class PatchEmbedding(nn.Module):
    """CLS and patch embeddings with learned positions; positions adapt to other input sizes."""

    def __init__(self, native_grid: tuple[int, int], patch_size: int, width: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.native_grid = native_grid
        self.projection = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + math.prod(native_grid), width))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T D"]:
        """Sequence of CLS and all patches of images."""
        grid = image.shape[2] // self.patch_size, image.shape[3] // self.patch_size
        positions = self.resized_positions(grid)
        patches = self.projection(image).flatten(2).transpose(1, 2)  # (B, N, D)
        return self._sequence(patches + positions[:, 1:], positions)

    def embed_kept(
        self, pixels: Float[Tensor, "B K 3 p p"], kept: Int[Tensor, "B K"], grid: tuple[int, int]
    ) -> Float[Tensor, "B T D"]:
        """Sequence of CLS and those patches of an h×w grid whose pixels and ids (row-major) are given."""
        positions = self.resized_positions(grid)
        patches = linear(pixels.flatten(2), self.projection.weight.flatten(1), self.projection.bias)
        return self._sequence(patches + positions[0, 1:][kept], positions)

    def _sequence(
        self, patches: Float[Tensor, "B K D"], positions: Float[Tensor, "1 T D"]
    ) -> Float[Tensor, "B L D"]:
        cls = self.cls_token + positions[:, :1]
        return torch.cat([cls.expand(patches.shape[0], -1, -1), patches], dim=1)

    def resized_positions(self, grid: tuple[int, int]) -> Float[Tensor, "1 T D"]:
        """CLS's position, and those of the patches of an h×w grid: the native ones, or resized from them."""
        if grid == self.native_grid:
            return self.positions
        plane = self.positions[:, 1:].transpose(1, 2).reshape(1, -1, *self.native_grid)  # (1, D, h, w)
        resized = F.interpolate(plane, size=grid, mode="bicubic", align_corners=False)
        return torch.cat([self.positions[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


def kept_pixels(
    image: Float[Tensor, "B 3 H W"], kept: Int[Tensor, "B K"], patch_size: int
) -> Float[Tensor, "B K 3 p p"]:
    """The pixels of the patches whose ids (row-major) are in `kept`, and nothing of the others."""
    batch, channels, height, width = image.shape
    p = patch_size
    tiles = image.reshape(batch, channels, height // p, p, width // p, p)
    patches = tiles.permute(0, 2, 4, 1, 3, 5)  # (B, h, w, 3, p, p)
    pictures = torch.arange(batch, device=kept.device)[:, None]
    return patches[pictures, kept // (width // p), kept % (width // p)]


def init_weights(module: nn.Module) -> None:
    """Start as a masked autoencoder does (He et al. 2022): linear layers and the patch projection
    Xavier-uniform, biases zero, positions a code of sines and cosines.

    Places are told apart from the first step on.
    """
    if isinstance(module, nn.Linear | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight.flatten(1))
    elif isinstance(module, PatchEmbedding):
        nn.init.xavier_uniform_(module.projection.weight.flatten(1))
        nn.init.zeros_(module.projection.bias)  # type: ignore[arg-type]
        nn.init.trunc_normal_(module.cls_token, std=CLS_STD)
        with torch.no_grad():
            module.positions[0, 1:] = sine_positions(module.native_grid, module.positions.shape[2])
    if isinstance(module, nn.Linear | nn.ConvTranspose2d) and module.bias is not None:
        nn.init.zeros_(module.bias)


def sine_positions(grid: tuple[int, int], width: int) -> Float[Tensor, "N D"]:
    """A code of the places of an h×w grid, row-major (Vaswani et al. 2017, along two axes).

    A quarter of the channels each for the sines and cosines of the column, then of the row, at frequencies
    from 1 down to 1e-4 a patch. `width` is a multiple of 4.
    """
    frequencies = 1e-4 ** (torch.arange(width // POSITION_PARTS) / (width // POSITION_PARTS))  # (D / 4,)
    row, column = torch.meshgrid(*map(torch.arange, grid), indexing="ij")
    angles = [place.flatten()[:, None] * frequencies for place in (column, row)]  # each (N, D / 4)
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)

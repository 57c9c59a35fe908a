"""The MaskGIT-VQGAN (f16, 1024 codes): images to codes and back. Always frozen.

B batch · H, W pixels · h = H/16, w = W/16 · C channels
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from model.config import CODEBOOK_SIZE

CHANNEL_MULTIPLIERS = (1, 1, 2, 2, 4)
CODE_WIDTH = 256
BLOCKS_PER_LEVEL = 2


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut.

    Where the width changes, the 1×1 shortcut reads the block's *output*, not its input: the published weights
    were trained so.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = _norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = _norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        if in_channels != out_channels:
            self.nin_shortcut = nn.Conv2d(out_channels, out_channels, 1, bias=False)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H W"]:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return y + (self.nin_shortcut(y) if hasattr(self, "nin_shortcut") else x)  # type: ignore[no-any-return]


class Level(nn.Module):
    """The residual blocks at one resolution and, in the decoder, the convolution after upsampling."""

    def __init__(self, in_channels: int, out_channels: int, *, upsample: bool = False) -> None:
        super().__init__()
        widths = [in_channels] + [out_channels] * BLOCKS_PER_LEVEL
        self.block = nn.ModuleList(map(ResidualBlock, widths, widths[1:]))
        if upsample:
            self.upsample_conv = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        for block in self.block:
            x = block(x)
        if hasattr(self, "upsample_conv"):
            x = self.upsample_conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        return x


def _middle(channels: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels, channels) for _ in range(BLOCKS_PER_LEVEL)))


class VqganEncoder(nn.Module):
    """Image to a grid of 256-channel vectors."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels * multiplier for multiplier in (1, *CHANNEL_MULTIPLIERS)]
        self.conv_in = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.down = nn.ModuleList(map(Level, widths, widths[1:]))
        self.mid = _middle(widths[-1])
        self.norm_out = _norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], CODE_WIDTH, 1)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 256 h w"]:
        x = self.conv_in(image)
        for i, level in enumerate(self.down):
            x = level(x if i == 0 else F.avg_pool2d(x, 2))
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))  # type: ignore[no-any-return]


class VqganDecoder(nn.Module):
    """A grid of 256-channel vectors to an image. `up[0]` is the finest level and runs last."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels * multiplier for multiplier in CHANNEL_MULTIPLIERS]
        inputs = [*widths[1:], widths[-1]]
        self.conv_in = nn.Conv2d(CODE_WIDTH, widths[-1], 3, padding=1)
        self.mid = _middle(widths[-1])
        self.up = nn.ModuleList(Level(inputs[i], widths[i], upsample=i > 0) for i in range(len(widths)))
        self.norm_out = _norm(channels)
        self.conv_out = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Float[Tensor, "B 256 h w"]) -> Float[Tensor, "B 3 H W"]:
        x = self.mid(self.conv_in(x))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))  # type: ignore[no-any-return]


class Quantizer(nn.Module):
    """The codebook; a vector becomes the nearest code by Euclidean distance."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CODEBOOK_SIZE, CODE_WIDTH)

    def forward(self, vectors: Float[Tensor, "B N 256"]) -> Int[Tensor, "B N"]:
        codes = self.embedding.weight
        # ‖v − c‖² without ‖v‖², which is the same for every code.
        return (codes.square().sum(1) - 2 * vectors @ codes.T).argmin(dim=-1)


class Vqgan(nn.Module):
    """Encoder, codebook and decoder, without gradients."""

    def __init__(self, channels: int = 128) -> None:
        super().__init__()
        self.encoder = VqganEncoder(channels)
        self.decoder = VqganDecoder(channels)
        self.quantize = Quantizer()
        self.requires_grad_(False)

    @torch.no_grad()
    def encode(self, image: Float[Tensor, "B 3 H W"]) -> Int[Tensor, "B N"]:
        """Codes in row-major order of an image in [0, 1]; H and W are multiples of 16."""
        return self.quantize(self.encoder(image).flatten(2).transpose(1, 2))  # type: ignore[no-any-return]

    def decode(self, codes: Int[Tensor, "B N"], grid: tuple[int, int]) -> Float[Tensor, "B 3 H W"]:
        """The image in [0, 1] that the codes of an h×w grid stand for."""
        vectors = self.quantize.embedding(codes).transpose(1, 2)  # (B, 256, N)
        vectors = vectors.reshape(codes.shape[0], CODE_WIDTH, *grid)
        return self.decoder(vectors).clamp(0, 1)  # type: ignore[no-any-return]

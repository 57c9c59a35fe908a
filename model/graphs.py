"""The two graphs of a bundle: what the service runs, bytes in and bytes out.

Bytes are cast as they come in and as they go out: TensorRT has no operator but the cast that takes bytes.

B batch · H, W pixels · N patches · r sparse tokens · D encoder width
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from model.stellar import Stellar


class EncoderGraph(nn.Module):
    """Pixels to semantics, localization and CLS; scaling and normalisation are inside."""

    INPUTS = ("image",)
    OUTPUTS = ("semantics", "localization", "cls")

    def __init__(self, model: Stellar) -> None:
        super().__init__()
        self.model = model
        self.embedding: nn.Module = _Embedding(model)

    def forward(
        self, image: UInt8[Tensor, "B H W 3"]
    ) -> tuple[Float[Tensor, "B r D"], Float[Tensor, "B N r"], Float[Tensor, "B D"]]:
        encoding = self.model.mix(self.embedding(image.float()))
        localization = self.model.localize(encoding.dense, encoding.sparse)
        return encoding.sparse, localization, encoding.cls[:, 0]


class _Embedding(nn.Module):
    """CLS and patches of pictures in levels of 255."""

    def __init__(self, model: Stellar) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Float[Tensor, "B H W 3"]) -> Float[Tensor, "B T D"]:
        return self.model.embed(image.permute(0, 3, 1, 2) / 255)


class DecoderGraph(nn.Module):
    """Semantics and localization to pixels; clamping and rounding are inside."""

    INPUTS = ("semantics", "localization")
    OUTPUTS = ("image",)

    def __init__(self, model: Stellar) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, semantics: Float[Tensor, "B r D"], localization: Float[Tensor, "B N r"]
    ) -> UInt8[Tensor, "B H W 3"]:
        image = self.model.render(semantics, localization, self.model.config.grid)
        return (image * 255).round().permute(0, 2, 3, 1).to(torch.uint8)

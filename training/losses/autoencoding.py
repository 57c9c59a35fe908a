"""Masked autoencoding with a dense grid (He et al. 2022, arXiv:2111.06377), to compare STELLAR with.

B batch · H, W pixels · K kept patches
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from model import Stellar
from training.data.views import Views
from training.losses.named import Losses


class MaskedAutoencoding(nn.Module):
    """The same backbone and decoder, but every patch has a token of its own and most are hidden.

    The decoder sees the kept patches' dense tokens in their places and a learned token in all others; the
    loss is the mean squared error of the hidden patches' pixels.
    """

    def __init__(self, model: Stellar) -> None:
        super().__init__()
        self.model = model
        self.mask_token = nn.Parameter(torch.zeros(1, 1, model.config.width))

    def forward(self, views: Views, kept: Int[Tensor, "B 1 K"]) -> Losses:
        """The loss of the reference views, seen but for the patches that are not in `kept`."""
        image, seen, patch = views.reference, kept[:, 0], self.model.config.patch_size
        grid = image.shape[2] // patch, image.shape[3] // patch
        dense = self.model.encode(image, seen).dense  # (B, K, D)
        places = seen[:, :, None].expand_as(dense)
        whole = self.mask_token.to(dense.dtype).repeat(image.shape[0], grid[0] * grid[1], 1)
        prediction = self.model.predict(self.model.decoder(whole.scatter(1, places, dense), grid), grid)
        errors = F.mse_loss(prediction.float(), image, reduction="none").mean(dim=1)  # (B, H, W)
        of_patches = F.avg_pool2d(errors[:, None], patch).flatten(1)  # (B, N)
        hidden = torch.ones_like(of_patches).scatter(1, seen, 0.0)
        loss = (of_patches * hidden).sum() / hidden.sum()
        return Losses(loss, {"reconstruction": loss})

    def reconstruct(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """The picture that the decoder makes of all dense tokens, in [0, 1]."""
        patch = self.model.config.patch_size
        grid = image.shape[2] // patch, image.shape[3] // patch
        return self.model.predict(self.model.decoder(self.model.encode(image).dense, grid), grid).clamp(0, 1)

"""A model's own reconstructions of pictures.

B batch · H, W pixels
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from model import Stellar


@torch.no_grad()
def reconstructed(model: Stellar, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """The model's reconstructions in [0, 1], at the pictures' own size.

    The VQGAN draws 16 pixels a patch, whatever the encoder's patch is.
    """
    encoding, localization = model(images)
    rendered = model.render(encoding.sparse, localization)
    if rendered.shape == images.shape:
        return rendered
    return F.interpolate(rendered, size=images.shape[2:], mode="bilinear", antialias=True)

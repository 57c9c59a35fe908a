"""Colour jitter and greyscale as one affine map of RGB for each view.

Brightness, contrast, saturation and greyscale are affine maps of a pixel's RGB, and so is a turn of the hue
in YIQ space. Their product is a 3×3 matrix and an offset, applied once; only the end result is clamped to
[0, 1], where a chain of the single steps clamps after each. The hue's turn keeps luma instead of HSV's value.

B batch · V views · h, w pixels of a view
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from training.data.draws import Draws

JITTER_PROBABILITY = 0.8
BRIGHTNESS, CONTRAST, SATURATION = 0.4, 0.4, 0.2
HUE = 0.1
"""Largest turn either way, in whole turns."""
GREY_PROBABILITY = 0.2

# ITU-R BT.601: luma, and the NTSC matrix from RGB to YIQ.
LUMA = (0.299, 0.587, 0.114)
YIQ = (LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def draw_colour(
    mean: Float[Tensor, "B V 3"], draws: Draws, strength: float = 1.0
) -> tuple[Float[Tensor, "B V 3 3"], Float[Tensor, "B V 3"]]:
    """Matrices and offsets for views whose mean colour is `mean` (contrast pulls towards their mean luma).

    `strength` in [0, 1] scales the ranges of the jitter and the chance of grey.
    """
    num_views = mean.shape[1]
    jittered = draws.chance(num_views, probability=JITTER_PROBABILITY)
    grey = draws.chance(num_views, probability=GREY_PROBABILITY * strength)

    def factor(reach: float) -> Tensor:
        drawn = draws.uniform(num_views, low=1 - reach * strength, high=1 + reach * strength)
        return torch.where(jittered, drawn, 1.0)

    brightness, contrast = factor(BRIGHTNESS), factor(CONTRAST)
    saturation = factor(SATURATION) * ~grey
    turn = draws.uniform(num_views, low=-HUE, high=HUE) * strength
    angle = torch.where(jittered, turn, 0.0) * 2 * math.pi

    chroma = _chroma(saturation, angle)
    matrix = (brightness * contrast)[:, :, None, None] * chroma
    mean_luma = (mean * mean.new_tensor(LUMA)).sum(dim=2) * brightness
    # Grey stays grey under a change of chroma, so the offset is the same for R, G and B.
    offset = ((1 - contrast) * mean_luma)[:, :, None].expand(-1, -1, 3)
    return matrix, offset


def recolour(
    images: Float[Tensor, "B V 3 h w"], matrix: Float[Tensor, "B V 3 3"], offset: Float[Tensor, "B V 3"]
) -> Float[Tensor, "B V 3 h w"]:
    """Apply the maps and clamp to [0, 1]."""
    flat = torch.baddbmm(
        offset.flatten(0, 1)[:, :, None], matrix.flatten(0, 1), images.flatten(3).flatten(0, 1)
    )
    return flat.view_as(images).clamp_(0, 1)


def _chroma(saturation: Float[Tensor, "B V"], angle: Float[Tensor, "B V"]) -> Float[Tensor, "B V 3 3"]:
    """RGB to RGB: luma stays, the colour difference is scaled and turned."""
    to_yiq = torch.tensor(YIQ, device=angle.device)
    cosine, sine = saturation * angle.cos(), saturation * angle.sin()
    turn = torch.zeros(*angle.shape, 3, 3, device=angle.device)
    turn[..., 0, 0] = 1
    turn[..., 1, 1] = turn[..., 2, 2] = cosine
    turn[..., 1, 2], turn[..., 2, 1] = -sine, sine
    to_rgb: Tensor = torch.linalg.inv(to_yiq)
    return to_rgb @ turn @ to_yiq

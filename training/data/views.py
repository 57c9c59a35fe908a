"""The views of a picture that the objective compares, cut and coloured in batches on the device.

B batch · S side of the stored picture · H, W a global view's pixels · h, w a local crop's · V masked views ·
M local crops
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from training.config import TrainingConfig
from training.data import colour, crops
from training.data.draws import Draws

BLUR_PROBABILITY = 0.5
SIGMA_RANGE = (0.1, 2.0)


class Views(NamedTuple):
    """RGB in [0, 1]."""

    reference: Float[Tensor, "B 3 H W"]
    """Cropped and mirrored only: what is reconstructed and, without a teacher, where targets come from."""
    masked: Float[Tensor, "B V 3 H W"]
    """Cropped, mirrored and recoloured; the encoder will see a part of the patches."""
    local: Float[Tensor, "B M 3 h w"]
    """Small crops, mirrored and recoloured."""


def make_views(
    pixels: UInt8[Tensor, "B 3 S S"],
    aspect: Float[Tensor, " B"],
    image_size: int,
    config: TrainingConfig,
    draws: Draws,
) -> Views:
    """Cut all views of a batch of stored pictures, on their device.

    `aspect` is each picture's width over height before it was stretched; `image_size` is the side
    of a global view in pixels.
    """
    pictures = pixels.float() / 255
    global_scale, local_scale, strength = config.global_scale, config.local_scale, config.colour_strength
    plain = _crops(pictures, aspect, 1, image_size, global_scale, draws)
    masked = _crops(pictures, aspect, config.num_masked_views, image_size, global_scale, draws, strength)
    local = _crops(pictures, aspect, config.num_local_crops, config.local_size, local_scale, draws, strength)
    return Views(plain[:, 0], masked, local)


def _crops(
    pictures: Float[Tensor, "B 3 S S"],
    aspect: Float[Tensor, " B"],
    num_views: int,
    size: int,
    scale: tuple[float, float],
    draws: Draws,
    colour_strength: float | None = None,
) -> Float[Tensor, "B V 3 s s"]:
    """Crops, mirrored by chance; without a colour strength neither recoloured nor blurred."""
    if num_views == 0:
        return pictures.new_zeros(pictures.shape[0], 0, 3, size, size)
    boxes = crops.draw_boxes(aspect, num_views, scale, draws)
    mirrored = draws.chance(num_views)
    source_size = pictures.shape[3]
    rows = crops.resampling(boxes.top, boxes.height, torch.zeros_like(mirrored), source_size, size)
    columns = crops.resampling(boxes.left, boxes.width, mirrored, source_size, size)
    if colour_strength is None:
        return crops.apply(pictures, rows, columns).clamp_(0, 1)
    # Blur is linear along each axis with weights that sum to 1: it commutes with an affine change of colour.
    blur = _blur(num_views, size, draws)
    images = crops.apply(pictures, blur @ rows, blur @ columns)
    return colour.recolour(images, *colour.draw_colour(images.mean(dim=(3, 4)), draws, colour_strength))


def _blur(num_views: int, size: int, draws: Draws) -> Float[Tensor, "B V s s"]:
    low, high = SIGMA_RANGE
    sigma = draws.uniform(num_views, low=low, high=high)
    blurred = draws.chance(num_views, probability=BLUR_PROBABILITY)[:, :, None, None]
    sharp = torch.eye(size, device=sigma.device)
    return torch.where(blurred, crops.gaussian(sigma, size), sharp)

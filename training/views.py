"""The views of a picture that the objective compares, cut and coloured in batches on the device.

B batch · S side of the stored picture · H, W a global view's pixels · h, w a local crop's · V masked views ·
M local crops
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from training import colour, crops
from training.config import TrainingConfig

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
    generator: torch.Generator,
) -> Views:
    """Cut all views of a batch of stored pictures, on their device.

    `aspect` is each picture's width over height before it was stretched; `image_size` is the side
    of a global view in pixels. Every draw comes from `generator`.
    """
    pictures = pixels.float() / 255
    global_scale, local_scale, strength = config.global_scale, config.local_scale, config.colour_strength
    plain = _crops(pictures, aspect, 1, image_size, global_scale, generator)
    masked = _crops(pictures, aspect, config.num_masked_views, image_size, global_scale, generator, strength)
    local = _crops(
        pictures, aspect, config.num_local_crops, config.local_size, local_scale, generator, strength
    )
    return Views(plain[:, 0], masked, local)


def _crops(
    pictures: Float[Tensor, "B 3 S S"],
    aspect: Float[Tensor, " B"],
    num_views: int,
    size: int,
    scale: tuple[float, float],
    generator: torch.Generator,
    colour_strength: float | None = None,
) -> Float[Tensor, "B V 3 s s"]:
    """Crops, mirrored by chance; without a colour strength neither recoloured nor blurred."""
    if num_views == 0:
        return pictures.new_zeros(pictures.shape[0], 0, 3, size, size)
    boxes = crops.draw_boxes(aspect, num_views, scale, generator)
    mirrored = _chance(boxes.left.shape, 0.5, generator)
    source_size = pictures.shape[3]
    rows = crops.resampling(boxes.top, boxes.height, torch.zeros_like(mirrored), source_size, size)
    columns = crops.resampling(boxes.left, boxes.width, mirrored, source_size, size)
    if colour_strength is None:
        return crops.apply(pictures, rows, columns).clamp_(0, 1)
    # Blur is linear along each axis with weights that sum to 1: it commutes with an affine change of colour.
    blur = _blur(boxes.left.shape, size, generator)
    images = crops.apply(pictures, blur @ rows, blur @ columns)
    return colour.recolour(images, *colour.draw_colour(images.mean(dim=(3, 4)), generator, colour_strength))


def _blur(shape: tuple[int, ...], size: int, generator: torch.Generator) -> Float[Tensor, "B V s s"]:
    low, high = SIGMA_RANGE
    sigma = low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)
    blurred = _chance(shape, BLUR_PROBABILITY, generator)[:, :, None, None]
    sharp = torch.eye(size, device=generator.device)
    return torch.where(blurred, crops.gaussian(sigma, size), sharp)


def _chance(shape: tuple[int, ...], probability: float, generator: torch.Generator) -> Bool[Tensor, "B V"]:
    return torch.rand(shape, generator=generator, device=generator.device) < probability

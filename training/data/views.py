"""The views of a picture that the objective compares, cut and coloured in batches on the device.

B batch · S side of the stored picture · H, W a global view's pixels · s side of a local crop ·
V masked views · M local crops · t, u pixels that a pretrained teacher sees · h, w a crop's
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from service.tokens.size import ImageSize, sides
from training.config import TrainingConfig
from training.data import colour, crops
from training.data.draws import Draws

BLUR_PROBABILITY = 0.5
SIGMA_RANGE = (0.1, 2.0)


class Views(NamedTuple):
    """RGB in [0, 1]."""

    reference: Float[Tensor, "B 3 H W"]
    """Cropped and mirrored only, by default as the first masked view is: what is reconstructed and, without a
    teacher, where targets come from."""
    masked: Float[Tensor, "B V 3 H W"]
    """Cropped, mirrored and recoloured; the encoder will see a part of the patches."""
    local: Float[Tensor, "B M 3 s s"]
    """Small square crops, mirrored and recoloured."""
    taught: Float[Tensor, "B 3 t u"] | None = None
    """The reference view at the size that a pretrained teacher sees, stretched where its shape is another."""


def make_views(
    pixels: UInt8[Tensor, "B 3 S S"],
    aspect: Float[Tensor, " B"],
    image_size: ImageSize,
    config: TrainingConfig,
    draws: Draws,
) -> Views:
    """Cut all views of a batch of stored pictures, on their device.

    `aspect` is each picture's width over height before it was stretched; `image_size` is a global view's,
    whose shape the crops have in the picture as it was.
    """
    height, width = size = sides(image_size)
    pictures, strength = pixels.float() / 255, config.colour_strength
    num_masked, num_local = config.num_masked_views, config.num_local_crops
    shared = num_masked > 0 and config.reference_crop == "first_masked"
    relative = aspect / (width / height)  # to that of global views
    cuts = _draw_cuts(relative, num_masked if shared else 1, config.global_scale, draws)
    reference, taught = _reference(pictures, cuts.first(), size, config, draws)
    if not shared:
        cuts = _draw_cuts(relative, num_masked, config.global_scale, draws)
    masked = _crops(pictures, cuts, size, strength, draws)
    cuts = _draw_cuts(aspect, num_local, config.local_scale, draws)
    local = _crops(pictures, cuts, sides(config.local_size), strength, draws)
    return Views(reference, masked, local, taught)


class Cuts(NamedTuple):
    """Where views lie, and which are mirrored."""

    boxes: crops.Boxes
    mirrored: Bool[Tensor, "B V"]

    def first(self) -> Cuts:
        """Of the first view of each picture alone."""
        return Cuts(crops.Boxes(*(side[:, :1] for side in self.boxes)), self.mirrored[:, :1])


def _draw_cuts(aspect: Float[Tensor, " B"], num_views: int, scale: tuple[float, float], draws: Draws) -> Cuts:
    return Cuts(crops.draw_boxes(aspect, num_views, scale, draws), draws.chance(num_views))


def _reference(
    pictures: Float[Tensor, "B 3 S S"],
    cuts: Cuts,
    size: tuple[int, int],
    config: TrainingConfig,
    draws: Draws,
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 3 t u"] | None]:
    """The same crops at the model's size and, where there is one, at the teacher's.

    Views are mixed by twos, so that a step has the same however many processes share it (mixup, Zhang et al.
    2018, with weights uniform in [0, 1], as Beyer et al. 2022 mix for a teacher, arXiv:2106.05237).
    """
    sizes = [size, *[sides(config.distillation.size)] * config.distils]
    views = [crops.cut(pictures, *cuts, each) for each in sizes]
    if config.reference_colour_strength:
        mean = views[0].mean(dim=(3, 4))
        change = colour.draw_colour(mean, draws, config.reference_colour_strength)
        views = [colour.recolour(images, *change) for images in views]
    flat = [images[:, 0].clamp_(0, 1) for images in views]
    if config.mixing:
        mixed = draws.chance(1, 1, 1, probability=config.mixing)
        share = torch.where(mixed, draws.uniform(1, 1, 1), 0.0)
        partner = torch.arange(len(pictures), device=pictures.device) ^ 1
        partner = partner.clamp(max=len(pictures) - 1)
        flat = [images.lerp(images[partner], share) for images in flat]
    return flat[0], flat[1] if config.distils else None


def _crops(
    pictures: Float[Tensor, "B 3 S S"],
    cuts: Cuts,
    size: tuple[int, int],
    colour_strength: float,
    draws: Draws,
) -> Float[Tensor, "B V 3 h w"]:
    """Crops, blurred by chance and recoloured."""
    num_views = cuts.mirrored.shape[1]
    if num_views == 0:
        return pictures.new_zeros(pictures.shape[0], 0, 3, *size)
    # Blur is linear along each axis with weights that sum to 1: it commutes with an affine change of colour.
    images = crops.cut(pictures, *cuts, size, _blur(num_views, size, draws))
    return colour.recolour(images, *colour.draw_colour(images.mean(dim=(3, 4)), draws, colour_strength))


def _blur(
    num_views: int, size: tuple[int, int], draws: Draws
) -> tuple[Float[Tensor, "B V h h"], Float[Tensor, "B V w w"]]:
    """Of both axes alike."""
    low, high = SIGMA_RANGE
    sigma = draws.uniform(num_views, low=low, high=high)
    blurred = draws.chance(num_views, probability=BLUR_PROBABILITY)[:, :, None, None]
    kernels = {
        side: torch.where(blurred, crops.gaussian(sigma, side), torch.eye(side, device=sigma.device))
        for side in set(size)
    }
    height, width = size
    return kernels[height], kernels[width]

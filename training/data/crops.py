"""Random resized crops as matrices: a crop is (rows) · picture · (columns)ᵀ.

Cutting, resizing, mirroring and blurring are all linear and separable, so each axis of a view is one small
matrix, whole batches of views are two batched products, and nothing is sampled point by point.

B batch · V views · H, W the stored picture's pixels · S one of them · h, w a view's pixels · s one of them
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from service.tokens.size import ImageSize, sides
from training.data.draws import Draws

ASPECT_RANGE = (3 / 4, 4 / 3)
"""Of a crop's width over height, relative to its view's: views are distorted so far at most."""
BLUR_RADIUS = 4
"""Pixels on each side of a 9×9 kernel's centre."""


class Boxes(NamedTuple):
    """Where crops lie, as shares of the picture's width and height."""

    left: Float[Tensor, "B V"]
    top: Float[Tensor, "B V"]
    width: Float[Tensor, "B V"]
    height: Float[Tensor, "B V"]


def draw_boxes(
    aspect: Float[Tensor, " B"], num_views: int, scale: tuple[float, float], draws: Draws
) -> Boxes:
    """Draw crops of pictures whose width over height is `aspect` times that of their views.

    The share of the picture's area is uniform in `scale`, a crop's own width over height log-uniform in
    [3/4, 4/3] of its view's; where such a box sticks out of the picture, it is shrunk until it fits.
    """
    area = draws.uniform(num_views, low=scale[0], high=scale[1])
    # The crop's shape relative to the picture's: 1 is the picture's own.
    low, high = (math.log(bound) for bound in ASPECT_RANGE)
    relative = draws.uniform(num_views, low=low, high=high).exp() / aspect[:, None]
    area = torch.minimum(area, torch.minimum(relative, 1 / relative))
    width, height = (area * relative).sqrt(), (area / relative).sqrt()
    left, top = draws.uniform(num_views) * (1 - width), draws.uniform(num_views) * (1 - height)
    return Boxes(left, top, width, height)


def resampling(
    start: Float[Tensor, "B V"],
    length: Float[Tensor, "B V"],
    mirrored: Bool[Tensor, "B V"],
    source_size: int,
    size: int,
) -> Float[Tensor, "B V s S"]:
    """One axis of a crop: rows of weights over the picture's pixels, each summing to 1.

    `start` and `length` are shares of the axis. The weights are a triangle as wide as an output
    pixel, or as a source pixel where the crop is enlarged: bilinear interpolation with antialiasing.
    """
    device = start.device
    steps = (torch.arange(size, device=device) + 0.5) / size
    steps = torch.where(mirrored[:, :, None], 1 - steps, steps)
    centers = (start[:, :, None] + length[:, :, None] * steps) * source_size  # (B, V, s)
    pixels = torch.arange(source_size, device=device) + 0.5
    reach = (length * source_size / size).clamp(min=1)[:, :, None, None]
    weights = (1 - (pixels - centers[:, :, :, None]).abs() / reach).clamp(min=0)
    return weights / weights.sum(dim=3, keepdim=True)


def gaussian(sigma: Float[Tensor, "B V"], size: int) -> Float[Tensor, "B V s s"]:
    """One axis of a 9×9 Gaussian blur, `sigma` in pixels; what a border leaves of the kernel sums to 1."""
    position = torch.arange(size, device=sigma.device)
    offset = position[:, None] - position  # (s, s)
    weights = torch.exp(-(offset**2) / (2 * sigma[:, :, None, None] ** 2))
    weights = weights * (offset.abs() <= BLUR_RADIUS)
    return weights / weights.sum(dim=3, keepdim=True)


def cut(
    pictures: Float[Tensor, "B 3 H W"],
    boxes: Boxes,
    mirrored: Bool[Tensor, "B V"],
    size: ImageSize,
    blur: tuple[Float[Tensor, "B V h h"], Float[Tensor, "B V w w"]] | None = None,
) -> Float[Tensor, "B V 3 h w"]:
    """The crops in these boxes at a size in pixels, some mirrored, and blurred down and across."""
    height, width = sides(size)
    rows = resampling(boxes.top, boxes.height, torch.zeros_like(mirrored), pictures.shape[2], height)
    columns = resampling(boxes.left, boxes.width, mirrored, pictures.shape[3], width)
    if blur is not None:
        rows, columns = blur[0] @ rows, blur[1] @ columns
    return apply(pictures, rows, columns)


def apply(
    pictures: Float[Tensor, "B 3 H W"], rows: Float[Tensor, "B V h H"], columns: Float[Tensor, "B V w W"]
) -> Float[Tensor, "B V 3 h w"]:
    """The crops that the matrices of the two axes describe."""
    batch, num_views, width, _ = columns.shape
    across = columns.flatten(1, 2).transpose(1, 2)  # (B, W, V w)
    narrow = pictures.flatten(1, 2) @ across  # (B, 3 H, V w)
    narrow = narrow.view(batch, 3, -1, num_views, width).permute(0, 3, 1, 2, 4)  # (B, V, 3, H, w)
    return rows[:, :, None] @ narrow

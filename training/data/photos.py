"""Photos that no training has seen, in a model's shape and size.

H, W pixels
"""

from __future__ import annotations

from functools import cache

import numpy as np
import skimage.data
import torch
from jaxtyping import Float
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

from service.tokens.size import ImageSize, sides
from service.tokens.upright import resized

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
"""scikit-image's colour photos that come in its wheel; with scikit-learn's two they are never trained on."""


def sample_photos(size: ImageSize) -> dict[str, Float[Tensor, "3 H W"]]:
    """The middles of the photos at this size, RGB in [0, 1]."""
    return {name: middle(image, size) for name, image in whole_photos().items()}


@cache
def whole_photos() -> dict[str, Image.Image]:
    """The photos as they are, by name."""
    arrays = {name: getattr(skimage.data, name)() for name in PHOTOS}
    arrays |= dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    return {name: Image.fromarray(array) for name, array in arrays.items()}


def middle(image: Image.Image, size: ImageSize) -> Float[Tensor, "3 H W"]:
    """The largest part of this shape in the middle of a picture of `open_picture`, RGB in [0, 1]."""
    seen = resized(image, sides(size)[::-1], middle_box(image, size))
    return torch.from_numpy(np.array(seen)).permute(2, 0, 1).float() / 255


def middle_box(image: Image.Image, size: ImageSize) -> tuple[int, int, int, int]:
    """Where the largest part of this shape lies in the middle of a picture: left, top, right, bottom."""
    height, width = sides(size)
    aspect = width / height
    across = min(image.width, max(1, round(image.height * aspect)))
    down = min(image.height, max(1, round(image.width / aspect)))
    left, top = (image.width - across) // 2, (image.height - down) // 2
    return left, top, left + across, top + down

"""Photos that no training has seen, in a model's shape and size.

H, W pixels
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import distribution

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from service.tokens.size import ImageSize, sides
from service.tokens.upright import resized

PHOTOS = {
    "astronaut": ("scikit-image", "skimage/data/astronaut.png"),
    "chelsea": ("scikit-image", "skimage/data/chelsea.png"),
    "coffee": ("scikit-image", "skimage/data/coffee.png"),
    "rocket": ("scikit-image", "skimage/data/rocket.jpg"),
    "china": ("scikit-learn", "sklearn/datasets/images/china.jpg"),
    "flower": ("scikit-learn", "sklearn/datasets/images/flower.jpg"),
}
"""Colour photos that come in wheels: of which package, and where they lie. They are never trained on."""


def sample_photos(size: ImageSize) -> dict[str, Float[Tensor, "3 H W"]]:
    """The middles of the photos at this size, RGB in [0, 1]."""
    return {name: middle(image, size) for name, image in whole_photos().items()}


@cache
def whole_photos() -> dict[str, Image.Image]:
    """The photos as they are, by name; their packages, which take a second to import, are not."""
    return {name: _photo(package, path) for name, (package, path) in PHOTOS.items()}


def _photo(package: str, path: str) -> Image.Image:
    with Image.open(str(distribution(package).locate_file(path))) as image:
        return image.convert("RGB")


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

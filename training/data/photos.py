"""Photos that no training has seen, as squares of a model's size.

S side in pixels
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

from service.tokens.upright import resized

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
"""scikit-image's colour photos that come in its wheel; with scikit-learn's two they are never trained on."""


def sample_photos(side: int) -> dict[str, Float[Tensor, "3 S S"]]:
    """The photos' middle squares at this size, RGB in [0, 1]."""
    return {name: middle_square(image, side) for name, image in whole_photos().items()}


@cache
def whole_photos() -> dict[str, Image.Image]:
    """The photos as they are, by name."""
    arrays = {name: getattr(skimage.data, name)() for name in PHOTOS}
    arrays |= dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    return {name: Image.fromarray(array) for name, array in arrays.items()}


def middle_square(image: Image.Image, side: int) -> Float[Tensor, "3 S S"]:
    """The largest square in the middle of a picture of `open_picture`, RGB in [0, 1]."""
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    return torch.from_numpy(np.array(resized(image, (side, side), box))).permute(2, 0, 1).float() / 255

"""Decoded pixels that lie in an array, for Pillow to take parts of.

H, W size of the picture · C channels of its mode
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from service.tokens.types import Pixels


@dataclass(frozen=True)
class Raster:
    """A picture of which only parts become Pillow's, which takes four bytes for a pixel of two or three."""

    pixels: Pixels
    """(H, W, C)."""
    mode: str
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def crop(self, box: tuple[int, int, int, int]) -> Image.Image:
        """What is within left, top, right and bottom, as a picture of its own."""
        left, top, right, bottom = box
        part = np.ascontiguousarray(self.pixels[top:bottom, left:right])
        return Image.frombuffer(self.mode, (right - left, bottom - top), part, "raw", self.mode, 0, 1)

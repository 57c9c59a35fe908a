"""A decoded picture as it is meant to be seen, and small, without a second one of its size."""

from __future__ import annotations

import math

from PIL import Image

from service.tokens.colour import Box, Opaque, tiles, to_srgb
from service.tokens.raster import Raster
from service.tokens.resample import Within, resampled

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by EXIF's orientation (EXIF 2.32, table 6)."""
MIRRORED_X, MIRRORED_Y = (2, 3, 6, 7), (3, 4, 7, 8)
GAP = 3.0
"""How much larger than the result what is resampled is at least: before that, pixels are averaged."""
SUPPORT = 2.0 - 0.5
"""How far bicubic filters look beyond the box, in pixels of the result."""


class Upright:
    """A loaded picture and EXIF's orientation: upright, opaque, 8 bits, see `Opaque`."""

    def __init__(self, image: Image.Image | Raster, orientation: int) -> None:
        self._image = Opaque(image)
        self._orientation = orientation if orientation in TURNS else 1
        width, height = image.size
        self.size = (height, width) if self.sideways else (width, height)

    @property
    def sideways(self) -> bool:
        """Whether width and height are stored the other way round."""
        return self._orientation >= 5

    def whole(self) -> Image.Image:
        """All of it, for `resized`."""
        image = self._image.as_it_is
        if image is None:
            image = Image.new(self._image.mode, self.size)
            for box in tiles((0, 0, *self.size)):
                image.paste(self._part(box), box[:2])
        elif self._orientation in TURNS:
            image = image.transpose(TURNS[self._orientation])
        image.info = self._image.info
        return image

    def resized(self, size: tuple[int, int], box: Within) -> Image.Image:
        """What is within `box` at another size, RGB in sRGB: the same as `resized` makes of the whole."""
        image = self._image.as_it_is
        if image is not None and self._orientation == 1:
            image.info = self._image.info
            return resized(image, size, box)
        factor, within = _reduction(self.size, size, box)
        left, top, right, bottom = within
        reduced = Image.new(
            self._image.mode, (-(-(right - left) // factor[0]), -(-(bottom - top) // factor[1]))
        )
        for part in tiles(within, factor):
            place = (part[0] - left) // factor[0], (part[1] - top) // factor[1]
            reduced.paste(self._part(part).reduce(factor), place)
        reduced.info = self._image.info
        return to_srgb(resampled(reduced, size, _moved(box, within, factor)))

    def _part(self, box: Box) -> Image.Image:
        """What is within an upright box."""
        (left, top, right, bottom), (width, height) = box, self.size
        if self._orientation in MIRRORED_X:
            left, right = width - right, width - left
        if self._orientation in MIRRORED_Y:
            top, bottom = height - bottom, height - top
        if self.sideways:
            left, top, right, bottom = top, left, bottom, right
        part = self._image.part((left, top, right, bottom))
        return part.transpose(TURNS[self._orientation]) if self._orientation in TURNS else part


def resized(image: Image.Image, size: tuple[int, int], box: Within | None = None) -> Image.Image:
    """A picture of `open_picture`, or what is within `box` of it, at another size, RGB in sRGB."""
    box = box or (0.0, 0.0, float(image.width), float(image.height))
    factor, within = _reduction(image.size, size, box)
    if factor != (1, 1):
        image, box = image.reduce(factor, box=within), _moved(box, within, factor)
    return to_srgb(resampled(image, size, box))


def _reduction(of: tuple[int, int], size: tuple[int, int], box: Within) -> tuple[tuple[int, int], Box]:
    """How many pixels are averaged across and down before a box is resampled, and which of them."""
    scales = (box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1]
    factor = int(scales[0] / GAP) or 1, int(scales[1] / GAP) or 1
    x, y = (SUPPORT * scale + (factor == (1, 1)) for scale in scales)
    within = (
        max(0, int(box[0] - x)),
        max(0, int(box[1] - y)),
        min(of[0], math.ceil(box[2] + x)),
        min(of[1], math.ceil(box[3] + y)),
    )
    return factor, within


def _moved(box: Within, within: Box, factor: tuple[int, int]) -> Within:
    """A box in pixels of what was averaged."""
    left, top = within[:2]
    return (
        (box[0] - left) / factor[0],
        (box[1] - top) / factor[1],
        (box[2] - left) / factor[0],
        (box[3] - top) / factor[1],
    )

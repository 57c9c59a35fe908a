"""A decoded picture as it is meant to be seen, and small, without a second one of its size."""

from __future__ import annotations

import math

from PIL import Image

from service.tokens.colour import Box, Opaque, tiles, to_srgb
from service.tokens.raster import Raster

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
"""How far Pillow looks beyond the box, in pixels of the result, with bicubic filters."""


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

    def resized(self, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
        """What is within `box` at another size, RGB in sRGB: the same as `resized` makes of the whole."""
        image = self._image.as_it_is
        if image is not None and self._orientation == 1:
            image.info = self._image.info
            return resized(image, size, box)
        scales = (box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1]
        factor = int(scales[0] / GAP) or 1, int(scales[1] / GAP) or 1
        left, top, right, bottom = within = self._seen(box, scales, factor == (1, 1))
        reduced = Image.new(
            self._image.mode, (-(-(right - left) // factor[0]), -(-(bottom - top) // factor[1]))
        )
        for part in tiles(within, factor):
            place = (part[0] - left) // factor[0], (part[1] - top) // factor[1]
            reduced.paste(self._part(part).reduce(factor), place)
        reduced.info = self._image.info
        moved = (
            (box[0] - left) / factor[0],
            (box[1] - top) / factor[1],
            (box[2] - left) / factor[0],
            (box[3] - top) / factor[1],
        )
        return to_srgb(reduced.resize(size, Image.Resampling.BICUBIC, box=moved))

    def _seen(self, box: tuple[float, float, float, float], scales: tuple[float, float], exact: bool) -> Box:
        """The pixels that a resampled box is made of; all, or as many as Pillow averages."""
        x, y = (SUPPORT * scale + exact for scale in scales)
        return (
            max(0, int(box[0] - x)),
            max(0, int(box[1] - y)),
            min(self.size[0], math.ceil(box[2] + x)),
            min(self.size[1], math.ceil(box[3] + y)),
        )

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


def resized(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    """A picture of `open_picture`, or what is within `box` of it, at another size, RGB in sRGB."""
    return to_srgb(image.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=GAP))

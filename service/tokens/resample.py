"""Bicubic resampling: by a library that does it in vectors where it is installed, else by Pillow.

The library takes a sixth of Pillow's time. Both round between two passes, of which they do another one first:
in photos a sixth of the numbers differ by a level, and some hard edges by up to seven.
"""

from __future__ import annotations

from typing import TypeAlias

from PIL import Image

try:
    from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer
except ModuleNotFoundError:  # there are no wheels for this platform
    Resizer = None

Within: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom of what is resampled, in pixels."""


def resampled(image: Image.Image, size: tuple[int, int], box: Within) -> Image.Image:
    """What is within a box of a picture in mode L, RGB or CMYK, at another size."""
    if Resizer is None:
        return image.resize(size, Image.Resampling.BICUBIC, box=box)
    left, top = box[:2]
    within = CropBox(left, top, min(box[2], image.width) - left, min(box[3], image.height) - top)
    bicubic = ResizeAlg.convolution(FilterType.catmull_rom)
    result = Image.new(image.mode, size)
    Resizer().resize_pil(image, result, ResizeOptions(bicubic, crop_box=within))
    result.info = image.info
    return result

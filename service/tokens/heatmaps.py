"""Localization as pictures: one map for each token, regions in colour over the photo, a sheet of all.

H, W pixels · h, w grid · r sparse tokens
"""

from __future__ import annotations

import colorsys
import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.tokens.types import Floats, Pixels

GAP = 6
CAPTION = 14
REGION_OPACITY = 0.55

# Black, purple, red, orange, pale yellow: darker always means less, in grey print too.
RAMP = np.array([(4, 4, 20), (80, 18, 110), (182, 54, 84), (246, 140, 30), (252, 254, 190)], dtype=np.float64)


def token_colours(count: int) -> NDArray[np.uint8]:
    """Colours (count, 3) that differ as much as they can: steps of the golden ratio round the hue circle."""
    hues = (np.arange(count) * (math.sqrt(5) - 1) / 2) % 1
    colours = [
        colorsys.hsv_to_rgb(hue, 0.55 + 0.4 * (i % 2), 1 - 0.25 * (i % 3)) for i, hue in enumerate(hues)
    ]
    return np.round(np.array(colours) * 255).astype(np.uint8)


def token_map(localization: Floats, token: int, grid: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """How much of every place a token holds, from black (nothing) to pale yellow (all), as H and W pixels.

    Brightness follows the square root of the share: with 16 tokens a tenth is already a lot.
    """
    plane = Image.fromarray(localization[:, token].reshape(grid).astype(np.float32))
    smooth = np.asarray(plane.resize(size[::-1], Image.Resampling.BICUBIC)).clip(0, 1)
    place = np.sqrt(smooth) * (len(RAMP) - 1)
    below = np.minimum(place.astype(int), len(RAMP) - 2)
    share = (place - below)[..., None]
    return Image.fromarray((RAMP[below] * (1 - share) + RAMP[below + 1] * share).round().astype(np.uint8))


def region_map(pixels: Pixels, localization: Floats, grid: tuple[int, int]) -> Image.Image:
    """The photo under the colour of the token that holds most of each place."""
    colours = token_colours(localization.shape[1])[localization.argmax(axis=1)]
    photo = Image.fromarray(pixels)
    tint = Image.fromarray(colours.reshape(*grid, 3)).resize(photo.size, Image.Resampling.NEAREST)
    return Image.blend(photo, tint, REGION_OPACITY)


def contact_sheet(pixels: Pixels, localization: Floats, grid: tuple[int, int]) -> Image.Image:
    """The photo, its regions, and every token's map, with numbers."""
    size = pixels.shape[0], pixels.shape[1]
    tiles = [("photo", Image.fromarray(pixels)), ("regions", region_map(pixels, localization, grid))]
    tiles += [(str(k), token_map(localization, k, grid, size)) for k in range(localization.shape[1])]
    return tile(tiles, columns=6)


def tile(tiles: list[tuple[str, Image.Image]], columns: int) -> Image.Image:
    """Captioned pictures of one size in rows."""
    width, height = tiles[0][1].size
    rows = math.ceil(len(tiles) / columns)
    step_x, step_y = width + GAP, height + CAPTION + GAP
    sheet = Image.new("RGB", (columns * step_x + GAP, rows * step_y + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (caption, picture) in enumerate(tiles):
        left, top = GAP + i % columns * step_x, GAP + i // columns * step_y
        draw.text((left, top), caption, fill="black")
        sheet.paste(picture, (left, top + CAPTION))
    return sheet


def png(image: Image.Image) -> bytes:
    """Encode as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()

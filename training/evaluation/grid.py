"""A picture to judge a model by: photos, token regions, reconstructions, edits and what they change.

H, W pixels · N patches · r sparse tokens
"""

from __future__ import annotations

import colorsys

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from model import Stellar
from training.data.photos import sample_photos
from training.evaluation.locality import without

TILE_WIDTH = 160
CAPTION_HEIGHT = 16
CHANGE_GAIN = 3
"""Changes are small: they are drawn this many times as bright."""
COLUMNS = (
    "photo",
    "token regions",
    "reconstruction",
    "largest dropped",
    f"change x {CHANGE_GAIN}",
    "two largest swapped",
    f"change x {CHANGE_GAIN}",
)


@torch.no_grad()
def draw_grid(model: Stellar, images: Float[Tensor, "M 3 H W"] | None = None) -> Image.Image:
    """A row for each image, or for each sample photo, and a captioned column for each of `COLUMNS`."""
    if images is None:
        images = torch.stack(list(sample_photos(model.config.size).values()))
    height, width = images.shape[2:]
    tile_height = round(TILE_WIDTH * height / width)
    size = len(COLUMNS) * TILE_WIDTH, len(images) * tile_height + CAPTION_HEIGHT
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for column, caption in enumerate(COLUMNS):
        pen.text((column * TILE_WIDTH + 4, 2), caption, fill="black")
    for row, image in enumerate(images):
        for column, tile in enumerate(_row(model, image)):
            scaled = tile.resize((TILE_WIDTH, tile_height), Image.Resampling.NEAREST)
            sheet.paste(scaled, (column * TILE_WIDTH, CAPTION_HEIGHT + row * tile_height))
    return sheet


def draw_regions(localization: Float[Tensor, "N r"], grid: tuple[int, int]) -> Image.Image:
    """Each patch in the colour of its largest token, one pixel a patch."""
    num_tokens = localization.shape[1]
    # Tokens next in number have hues next to each other, so every other one is darker.
    colours = [colorsys.hsv_to_rgb(k / num_tokens, 0.75, 1 - 0.4 * (k % 2)) for k in range(num_tokens)]
    regions = localization.argmax(dim=1).view(grid).numpy()
    return Image.fromarray((np.array(colours)[regions] * 255).round().astype(np.uint8))


def _row(model: Stellar, image: Float[Tensor, "3 H W"]) -> list[Image.Image]:
    encoding, localization = model(image[None])
    whole = model.render(encoding.sparse, localization)[0]
    sizes = localization[0].argmax(dim=1).bincount(minlength=localization.shape[2])
    first, second = sizes.topk(2).indices.tolist()
    swapped = encoding.sparse.clone()
    swapped[:, [first, second]] = swapped[:, [second, first]]
    tiles = [_pillow(image), draw_regions(localization[0], model.config.grid), _pillow(whole)]
    for edited in (
        model.render(encoding.sparse, without(localization, first))[0],
        model.render(swapped, localization)[0],
    ):
        change = (CHANGE_GAIN * (edited - whole).abs()).clamp(max=1)
        tiles += [_pillow(edited), _pillow(change)]
    return tiles


def _pillow(image: Float[Tensor, "3 H W"]) -> Image.Image:
    return Image.fromarray((image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())

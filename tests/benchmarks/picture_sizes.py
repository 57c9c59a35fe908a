"""What views lose where pictures are kept as small squares, and what larger ones cost.

Views cut from a photo itself are compared with the same views cut from the square that it was stretched to.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from statistics import mean
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from service.tokens.upright import resized
from training.data import crops
from training.data.draws import Draws
from training.data.photos import whole_photos
from training.data.pictures import read_stretched
from training.data.views import make_views
from training.recipes import get_recipe

SIDE, VIEWS, SIZES = 500, 64, (256, 320, 384, 448, 512)
"""The photos' longer side, views of each, and sides of the squares."""
ROUNDS = 5


def pixels(image: Image.Image) -> Float[Tensor, "1 3 H W"]:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def edges(views: Float[Tensor, "V 3 s s"]) -> Float[Tensor, " V"]:
    """The mean square of neighbours' differences."""
    across, down = views.diff(dim=3).square(), views.diff(dim=2).square()
    return across.mean((1, 2, 3)) + down.mean((1, 2, 3))


def compared(
    photo: Image.Image, size: int, scale: tuple[float, float], side: int
) -> tuple[float, float, float]:
    """Shares of the edges' energy and of views that are enlarged, and PSNR in dB."""
    boxes = crops.draw_boxes(torch.tensor([photo.width / photo.height]), VIEWS, scale, Draws(0, 1))
    mirrored = torch.zeros(1, VIEWS, dtype=torch.bool)
    wanted, got = (
        crops.cut(pixels(image), boxes, mirrored, side)[0] for image in (photo, resized(photo, (size, size)))
    )
    psnr = -10 * (got - wanted).square().mean((1, 2, 3)).log10()
    enlarged = (torch.minimum(boxes.width, boxes.height) * size < side).float()
    return (edges(got) / edges(wanted)).mean().item(), enlarged.mean().item(), psnr.mean().item()


def seconds(function: Callable[[], Any]) -> float:
    """Processor time, the least of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        function()
        taken.append(time.process_time() - start)
    return min(taken)


def encoded(photo: Image.Image) -> bytes:
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=90)
    return file.getvalue()


def main() -> None:
    torch.set_num_threads(1)
    photos = []
    for photo in whole_photos().values():
        ratio = min(1, SIDE / max(photo.size))
        shape = round(photo.width * ratio), round(photo.height * ratio)
        photos.append(photo.resize(shape, Image.Resampling.LANCZOS))
    files = [encoded(photo) for photo in photos]
    table = Table("side", "view", "edges", "enlarged", "PSNR", "decoding", "all views of B/16")
    for size in SIZES:
        recipe = get_recipe("b16", picture_size=size)
        batch = torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8)
        cutting = seconds(lambda: make_views(batch, torch.ones(4), 224, recipe, Draws(0, 4))) / 4  # noqa: B023
        decoding = mean(seconds(lambda: read_stretched(file, size)) for file in files)  # noqa: B023
        for view, scale, side in (
            ("global", recipe.global_scale, 224),
            ("local", recipe.local_scale, recipe.local_size),
        ):
            found = zip(*(compared(photo, size, scale, side) for photo in photos), strict=True)
            kept, enlarged, psnr = (mean(values) for values in found)
            costs = (f"{decoding * 1e3:.1f} ms", f"{cutting * 1e3:.0f} ms") if view == "global" else ("", "")
            table.add_row(str(size), view, f"{kept:.0%}", f"{enlarged:.0%}", f"{psnr:.1f} dB", *costs)
    Console().print(table)


if __name__ == "__main__":
    main()

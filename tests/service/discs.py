"""Pictures that search is tested on: each has a square, and some a red disc."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image, ImageDraw

SIZE = 320, 240
"""Not square, so that places in the picture are not places in what the model sees of it."""
PLACES = (100, 60), (220, 60), (100, 180), (220, 180)
OTHERS = ("royalblue", "seagreen", "gold", "white")
WITH_DISC = 8
WITHOUT = 24
NAMES = {0: "coffee.jpg"}
"""One that pages speak of."""


def draw_all(folder: Path) -> None:
    """`photos`, of which those in `trip` have a disc and those in `home` have none, and `cat.jpg`, which
    has a disc at (200, 150) and a square at (80, 50) and is among the photos, too.
    """
    draw = random.Random(0)
    for name in ("trip", "home"):
        (folder / "photos" / name).mkdir(parents=True)
    for i in range(WITH_DISC + WITHOUT):
        disc, square = draw.sample(PLACES, 2)
        if i < WITH_DISC:
            picture(draw, disc, square).save(folder / f"photos/trip/{NAMES.get(i, f'{i}.png')}")
        else:
            picture(draw, None, square).save(folder / f"photos/home/{i}.png")
    cat = picture(draw, (200, 150), (80, 50))
    cat.save(folder / "cat.jpg", quality=95)
    cat.save(folder / "photos/cat.png")


def picture(draw: random.Random, disc: tuple[int, int] | None, square: tuple[int, int]) -> Image.Image:
    """A square, and maybe a red disc, with these middles."""
    image = Image.new("RGB", SIZE, (draw.randint(60, 200),) * 3)
    canvas = ImageDraw.Draw(image)
    side, radius = draw.randint(25, 35), draw.randint(38, 46)
    canvas.rectangle(around(square, side), draw.choice(OTHERS))
    if disc is not None:
        canvas.ellipse(around(disc, radius), "crimson")
    return image


def around(middle: tuple[int, int], half: int) -> tuple[int, int, int, int]:
    """A square's box."""
    return middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half

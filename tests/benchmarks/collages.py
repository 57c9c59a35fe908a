"""Collages of four drawings, each in a quarter of its own, to ask which of them hold a thing."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

QUARTER = 128
PER_GROUP = 50
MIDDLES = [(QUARTER * (i % 2) + QUARTER // 2, QUARTER * (i // 2) + QUARTER // 2) for i in range(4)]
"""Of the quarters, in pixels."""


def choose(hands: list[Path]) -> list[str]:
    """GROUP/NAME of 50 drawings of each group, always the same, that every hand (a folder) has drawn."""
    drawn = ({path.relative_to(hand).as_posix() for path in hand.glob("*/*.png")} for hand in hands)
    shared = sorted(set.intersection(*drawn))
    groups = sorted({name.split("/")[0] for name in shared})
    draw = random.Random(0)
    return [
        name
        for group in groups
        for name in draw.sample([each for each in shared if each.startswith(f"{group}/")], PER_GROUP)
    ]


def draw_collages(hand: Path, drawings: list[str], decks: int, out: Path, seed: int) -> list[list[str]]:
    """Write 0000.png, … into `out`; the drawings of each, by quarter.

    Every drawing is in `decks` collages, in three quarters of its quarter's side or more, never twice in one.
    """
    draw = random.Random(seed)
    held: list[list[str]] = []
    out.mkdir(parents=True)
    for _ in range(decks):
        deck = draw.sample(drawings, len(drawings))
        held += [deck[i : i + 4] for i in range(0, len(deck), 4)]
    for i, names in enumerate(held):
        collage = Image.new("RGB", (2 * QUARTER, 2 * QUARTER), "white")
        for (x, y), name in zip(MIDDLES, names, strict=True):
            side = draw.randint(3 * QUARTER // 4, QUARTER)
            place = [middle - QUARTER // 2 + draw.randint(0, QUARTER - side) for middle in (x, y)]
            with Image.open(hand / name) as drawing:
                collage.paste(drawing.convert("RGB").resize((side, side)), (place[0], place[1]))
        collage.save(out / f"{i:04}.png")
    return held


def cut(collages: Path, out: Path) -> None:
    """Write the quarters of every collage into `out`: 0000-0.png, …."""
    out.mkdir()
    for path in sorted(collages.glob("*.png")):
        with Image.open(path) as collage:
            for i, (x, y) in enumerate(MIDDLES):
                half = QUARTER // 2
                collage.crop((x - half, y - half, x + half, y + half)).save(out / f"{path.stem}-{i}.png")

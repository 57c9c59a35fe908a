"""The JPEGs that are sent: sample photos laid side by side until they have the size."""

from __future__ import annotations

import io
from pathlib import Path

import skimage.data
from PIL import Image

PHOTOS = ("coffee", "chelsea", "astronaut", "rocket")
QUALITY = 90
HEIGHT_PER_WIDTH = 3 / 4


def write_picture(folder: Path, megapixels: float, first: int = 0) -> Path:
    """The file of a JPEG of this size, 4:3, that begins with this photo; made where it is missing."""
    path = folder / f"{megapixels:g}-megapixels{f'-{first}' if first else ''}.jpg"
    if not path.exists():
        width = round((megapixels * 1e6 / HEIGHT_PER_WIDTH) ** 0.5)
        sheet = Image.new("RGB", (width, round(width * HEIGHT_PER_WIDTH)))
        top, turn = 0, first
        while top < sheet.height:
            left, row_height = 0, 300  # of the lowest photo
            while left < sheet.width:
                photo = Image.fromarray(getattr(skimage.data, PHOTOS[turn % len(PHOTOS)])())
                sheet.paste(photo.crop((0, 0, photo.width, row_height)), (left, top))
                left, turn = left + photo.width, turn + 1
            top += row_height
        buffer = io.BytesIO()
        sheet.save(buffer, "JPEG", quality=QUALITY)
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())
    return path

"""A folder of pictures as an endless, repeatable stream of batches.

B batch · S side of the stored picture
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
BACKGROUND = (255, 255, 255)
"""What shows through transparent pixels."""


class Picture(NamedTuple):
    """One picture, stretched to a square."""

    pixels: UInt8[Tensor, "3 S S"]
    aspect: float
    """Width over height before the stretch."""
    unreadable: int
    """Files that could not be read and that this picture stands in for."""


class PictureBatch(NamedTuple):
    """Pictures that are stacked."""

    pixels: UInt8[Tensor, "B 3 S S"]
    aspect: Float[Tensor, " B"]
    unreadable: Int[Tensor, " B"]


class PictureFolder(Dataset[Picture]):
    """The pictures below a folder, at any depth, in the order of their paths.

    A file that can't be read is replaced by the next one that can.
    """

    def __init__(self, folder: Path, size: int) -> None:
        """Find the files; `size` is the side of the square, in pixels.

        Raises `ValueError` where there are none.
        """
        self.size = size
        self.paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not self.paths:
            raise ValueError(
                f"pictures: expected a folder with pictures ({', '.join(sorted(SUFFIXES))}), got {folder}"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Picture:
        for unreadable in range(len(self)):
            path = self.paths[(index + unreadable) % len(self)]
            try:
                image, aspect = read_square(path, self.size)
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
                continue  # Pillow reports broken files with any of these
            pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
            return Picture(pixels, aspect, unreadable)
        raise ValueError(f"pictures: none of {len(self)} files could be read, the last was {path}")


def read_square(path: Path, size: int) -> tuple[Image.Image, float]:
    """Decode an upright RGB picture, stretched to a square of `size` pixels, and its width over height.

    A JPEG is decoded at the smallest scale with at least `size` pixels each way. Raises what Pillow does for
    a broken file: `OSError`, `SyntaxError`, `ValueError` or `DecompressionBombError`.
    """
    with Image.open(path) as image:
        image.draft("RGB", (size, size))
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            layer = upright.convert("RGBA")
            upright = Image.new("RGB", layer.size, BACKGROUND)
            upright.paste(layer, mask=layer)
        aspect = upright.width / upright.height
        return upright.convert("RGB").resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0), aspect


class ShuffledBatches(Sampler[list[int]]):
    """Batches of indices without end: each epoch has its own order, and epochs run into each other."""

    def __init__(self, length: int, batch_size: int, seed: int, first_batch: int = 0) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.first_batch = first_batch

    def __iter__(self) -> Iterator[list[int]]:
        epoch, skip = divmod(self.first_batch * self.batch_size, self.length)
        batch: list[int] = []
        while True:
            generator = torch.Generator().manual_seed(self.seed + epoch)
            for index in torch.randperm(self.length, generator=generator).tolist()[skip:]:
                batch.append(index)
                if len(batch) == self.batch_size:
                    yield batch
                    batch = []
            epoch, skip = epoch + 1, 0


def picture_batches(
    pictures: PictureFolder, *, batch_size: int, seed: int, workers: int, first_batch: int, pin_memory: bool
) -> Iterator[PictureBatch]:
    """The stream of batches from number `first_batch` on; the same whatever number it is entered at.

    Taking a batch raises `ValueError` where no picture can be read.
    """
    loader = DataLoader(
        pictures,
        batch_sampler=ShuffledBatches(len(pictures), batch_size, seed, first_batch),
        num_workers=workers,
        collate_fn=_stack,
        pin_memory=pin_memory,
        worker_init_fn=_leave_signals_to_the_trainer,
    )
    return iter(loader)


def _leave_signals_to_the_trainer(_worker: int) -> None:
    # A terminal's Ctrl-C and a scheduler's SIGTERM reach the whole process group, and the step under way
    # still needs its pictures. Workers end when the loader tells them to or their parent is gone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _stack(pictures: list[Picture]) -> PictureBatch:
    return PictureBatch(
        torch.stack([picture.pixels for picture in pictures]),
        torch.tensor([picture.aspect for picture in pictures]),
        torch.tensor([picture.unreadable for picture in pictures]),
    )

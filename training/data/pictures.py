"""A stream of encoded pictures as batches of pixels, decoded by threads ahead of the training.

B batch · H, W pixels of the stored picture
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from service.errors import BadImage
from service.tokens.pictures import open_picture
from service.tokens.size import ImageSize, sides
from service.tokens.upright import resized
from training.data.streams import State, Stream

BATCHES_AHEAD = 3
BROKEN = (BadImage, OSError)
"""What reading a picture raises where that can't be done."""
MAX_UNREADABLE_BATCHES = 100
"""Batches in a row without one readable picture after which the pictures are given up."""


class PictureBatch(NamedTuple):
    """Pictures, each stretched to the same size."""

    pixels: UInt8[Tensor, "B 3 H W"]
    aspect: Float[Tensor, " B"]
    """Width over height before the stretch."""
    unreadable: int
    """Pictures that could not be read since the batch before; others of this batch stand in for them."""
    state: State
    """Where the stream stands behind this batch."""


def read_stretched(encoded: bytes | Path, size: ImageSize) -> tuple[Image.Image, float]:
    """Decode an upright RGB picture, stretched to a size in pixels, and its width over height.

    A JPEG is decoded at the smallest scale with at least as many pixels each way. Raises one of `BROKEN`.
    """
    image = open_picture(encoded, short_side=max(sides(size)))
    return resized(image, sides(size)[::-1]), image.width / image.height


def read_whole(path: Path) -> Image.Image:
    """A picture of `open_picture`. Raises `ValueError` with its name where it can't be read."""
    try:
        return open_picture(path)
    except BROKEN as error:
        raise ValueError(f"{path}: {error}") from error


def picture_batches(
    stream: Stream, *, batch_size: int, size: ImageSize, workers: int, pin_memory: bool = False
) -> Generator[PictureBatch]:
    """Batches of a stream; `size` is that of pictures, in pixels, `workers` the decoding threads.

    Taking a batch raises what the stream raises, and `ValueError` where picture after picture is unreadable.
    """
    ahead: queue.Queue[PictureBatch | BaseException] = queue.Queue(BATCHES_AHEAD)
    closed = threading.Event()

    def put(item: PictureBatch | BaseException) -> None:
        while not closed.is_set():
            try:
                ahead.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def fill() -> None:
        with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
            try:
                for batch in _decoded(stream, batch_size, size, pool, pin_memory):
                    put(batch)
                    if closed.is_set():
                        return
            except BaseException as error:
                put(error)

    filling = threading.Thread(target=fill, name="pictures", daemon=True)
    filling.start()
    try:
        while True:
            batch = ahead.get()
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        closed.set()
        filling.join()  # Python must not end while it works: PyTorch would end the process with an error


def _decoded(
    stream: Stream, batch_size: int, size: ImageSize, pool: ThreadPoolExecutor, pin_memory: bool
) -> Iterator[PictureBatch]:
    unreadable = 0
    while True:
        pictures: list[Future[tuple[Tensor, float] | None]] = [
            pool.submit(_read, next(stream), size) for _ in range(batch_size)
        ]
        state = stream.state()
        readable = [picture for future in pictures if (picture := future.result()) is not None]
        unreadable += batch_size - len(readable)
        if not readable:
            if unreadable >= batch_size * MAX_UNREADABLE_BATCHES:
                raise ValueError(f"pictures: none of {unreadable} pictures in a row could be read")
            continue
        chosen = [readable[i % len(readable)] for i in range(batch_size)]
        pixels = torch.stack([pixels for pixels, _ in chosen])
        yield PictureBatch(
            pixels.pin_memory() if pin_memory else pixels,
            torch.tensor([aspect for _, aspect in chosen]),
            unreadable,
            state,
        )
        unreadable = 0


def _read(encoded: bytes | Path, size: ImageSize) -> tuple[UInt8[Tensor, "3 H W"], float] | None:
    """One picture and its width over height; None where it can't be read."""
    try:
        image, aspect = read_stretched(encoded, size)
    except BROKEN:
        return None
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous(), aspect

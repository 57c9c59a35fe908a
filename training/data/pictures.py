"""A stream of encoded pictures as batches of pixels, decoded by threads ahead of the training.

B batch · S side of the stored picture
"""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from training.data.streams import State, Stream

BACKGROUND = (255, 255, 255)
"""What shows through transparent pixels."""
BATCHES_AHEAD = 3
BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for broken files."""
MAX_UNREADABLE_BATCHES = 100
"""Batches in a row without one readable picture after which the pictures are given up."""


class PictureBatch(NamedTuple):
    """Pictures, each stretched to a square."""

    pixels: UInt8[Tensor, "B 3 S S"]
    aspect: Float[Tensor, " B"]
    """Width over height before the stretch."""
    unreadable: int
    """Pictures that could not be read since the batch before; others of this batch stand in for them."""
    state: State
    """Where the stream stands behind this batch."""


def read_square(encoded: bytes | Path, size: int) -> tuple[Image.Image, float]:
    """Decode an upright RGB picture, stretched to a square of `size` pixels, and its width over height.

    A JPEG is decoded at the smallest scale with at least `size` pixels each way. Raises what Pillow does for
    a broken file: `OSError`, `SyntaxError`, `ValueError` or `DecompressionBombError`.
    """
    with Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded) as image:
        image.draft("RGB", (size, size))
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            layer = upright.convert("RGBA")
            upright = Image.new("RGB", layer.size, BACKGROUND)
            upright.paste(layer, mask=layer)
        aspect = upright.width / upright.height
        return upright.convert("RGB").resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0), aspect


def picture_batches(
    stream: Stream, *, batch_size: int, size: int, workers: int, pin_memory: bool = False
) -> Generator[PictureBatch]:
    """Batches of a stream; `size` is the side of the squares in pixels, `workers` the decoding threads.

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

    threading.Thread(target=fill, name="pictures", daemon=True).start()
    try:
        while True:
            batch = ahead.get()
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        closed.set()


def _decoded(
    stream: Stream, batch_size: int, size: int, pool: ThreadPoolExecutor, pin_memory: bool
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


def _read(encoded: bytes | Path, size: int) -> tuple[UInt8[Tensor, "3 S S"], float] | None:
    """One picture and its width over height; None where it can't be read."""
    try:
        image, aspect = read_square(encoded, size)
    except BROKEN:
        return None
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous(), aspect

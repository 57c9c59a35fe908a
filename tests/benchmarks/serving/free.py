"""A model that costs nothing, in the sizes of B/16: what is measured with it stands around the model.

A picture has 224 × 224 pixels, 14 × 14 patches, 16 tokens of 768 numbers. Token k is the first 768 levels of
the picture's middle, plus k; CLS is token 0; each patch has as much of every token. The decoder draws one
colour, the first three numbers of token 0. All are whole numbers: a vector is the same to the last bit
wherever and in whatever batch it was made, and each picture has another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tests.service.toy import HEADER, manifest_of, write_manifest

FREE = "free"
SIDE, PATCH, TOKENS, WIDTH = 224, 16, 16, 768
MIDDLE = 112
"""The row that tokens are made of, with the next one: it has 672 levels."""

ENCODER = """
encoder (uint8[b, 224, 224, 3] image)
  => (float[b, 16, 768] semantics, float[b, 196, 16] localization, float[b, 768] cls) {
  from_row = Constant<value_ints=[112]>()
  to_row = Constant<value_ints=[114]>()
  one = Constant<value_ints=[1]>()
  rows = Slice(image, from_row, to_row, one)
  line_shape = Constant<value_ints=[-1, 1344]>()
  line = Reshape(rows, line_shape)
  from_level = Constant<value_ints=[0]>()
  to_level = Constant<value_ints=[768]>()
  levels = Slice(line, from_level, to_level, one)
  cls = Cast<to=1>(levels)
  column = Unsqueeze(cls, one)
  index_shape = Constant<value_ints=[1, 16, 1]>()
  index_line = Constant<value_floats=[
    0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0]>()
  index = Reshape(index_line, index_shape)
  semantics = Add(column, index)
  size = Shape<start=0, end=1>(image)
  patches = Constant<value_ints=[196, 16]>()
  localization_shape = Concat<axis=0>(size, patches)
  share = Constant<value_float=0.0625>()
  localization = Expand(share, localization_shape)
}
"""
DECODER = """
decoder (float[b, 16, 768] semantics, float[b, 196, 16] localization) => (uint8[b, 224, 224, 3] image) {
  zeros = Constant<value_ints=[0, 0]>()
  token_ends = Constant<value_ints=[1, 3]>()
  axes = Constant<value_ints=[1, 2]>()
  colour = Slice(semantics, zeros, token_ends, axes)
  share_ends = Constant<value_ints=[1, 1]>()
  share = Slice(localization, zeros, share_ends, axes)
  nothing_left = Constant<value_float=0.0>()
  nothing = Mul(share, nothing_left)
  same = Add(colour, nothing)
  full = Constant<value_float=255.0>()
  clipped = Clip(same, nothing_left, full)
  levels = Cast<to=2>(clipped)
  pixel_shape = Constant<value_ints=[-1, 1, 1, 3]>()
  pixel = Reshape(levels, pixel_shape)
  square = Constant<value_ints=[1, 224, 224, 3]>()
  image = Expand(pixel, square)
}
"""


def results(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """What the model makes of images (B, 224, 224, 3), worked out in NumPy."""
    cls = images[:, MIDDLE : MIDDLE + 2].reshape(len(images), -1)[:, :WIDTH].astype(np.float32)
    semantics = cls[:, None] + np.arange(TOKENS, dtype=np.float32)[:, None]
    patches = (SIDE // PATCH) ** 2
    localization = np.full((len(images), patches, TOKENS), 1 / TOKENS, np.float32)
    drawn = np.broadcast_to(cls[:, None, None, :3].astype(np.uint8), images.shape).copy()
    return {"semantics": semantics, "localization": localization, "cls": cls, "drawn": drawn}


def write_free(folder: Path) -> None:
    """Write the bundle."""
    folder.mkdir(parents=True)
    for name, text in (("encoder.onnx", ENCODER), ("decoder.onnx", DECODER)):
        graph = onnx.parser.parse_model(HEADER + text)
        onnx.checker.check_model(graph, full_check=True)
        (folder / name).write_bytes(graph.SerializeToString())
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    save_file({"image": images, **results(images)}, folder / "reference.safetensors")
    write_manifest(
        folder,
        manifest_of(folder)
        | {
            "name": FREE,
            "image_size": SIDE,
            "patch_size": PATCH,
            "grid": [SIDE // PATCH] * 2,
            "num_sparse_tokens": TOKENS,
            "width": WIDTH,
        },
    )

"""A bundle so small that a reader can work out its answers by hand, and that misbehaves when asked to.

An image has 8 × 8 pixels, 2 × 2 patches unless others are asked for, 3 tokens of 4 numbers. Token k is the
mean of colour channel k, four times; a patch's localization is the softmax of its mean colour. The encoder
takes longer the lighter the image's darkest pixel is: a black image is instant, a white one takes about a
second. The decoder fails when a token has a number above 1000.

The reference results are worked out by the same formulas in NumPy.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
from numpy.typing import NDArray
from safetensors.numpy import save_file

HEADER = '<ir_version: 10, opset_import: ["" : 20]>'
ENCODER = """
encoder (uint8[b, 8, 8, 3] image)
  => (float[b, 3, 4] semantics, float[b, 4, 3] localization, float[b, 4] cls) {
  levels = Cast<to=1>(image)
  full = Constant<value_float=255.0>()
  pixels = Div(levels, full)
  plane = Constant<value_ints=[1, 2]>()
  means = ReduceMean<keepdims=0>(pixels, plane)
  last = Constant<value_ints=[2]>()
  column = Unsqueeze(means, last)
  four = Constant<value_ints=[1, 1, 4]>()
  wide = Expand(column, four)
  channels = Transpose<perm=[0, 3, 1, 2]>(pixels)
  patches = AveragePool<kernel_shape=[4, 4], strides=[4, 4]>(channels)
  flat_shape = Constant<value_ints=[0, 3, 4]>()
  flat = Reshape(patches, flat_shape)
  rows = Transpose<perm=[0, 2, 1]>(flat)
  localization = Softmax<axis=-1>(rows)
  darkest = ReduceMin<keepdims=0>(levels)
  times = Constant<value_float=16.0>()
  many = Mul(darkest, times)
  trips = Cast<to=7>(many)
  square = Constant<value_ints=[256, 256]>()
  zeros = ConstantOfShape(square)
  eye = EyeLike<dtype=1>(zeros)
  go = Constant<value_int=1>()
  going = Cast<to=9>(go)
  worked = Loop(trips, going, eye) <body =
    work (int64 i, bool c, float[256, 256] x) => (bool d, float[256, 256] y) {
      d = Identity(c)
      y = MatMul(x, eye)
  }>
  most = ReduceMax<keepdims=0>(worked)
  one = Constant<value_float=1.0>()
  nothing = Sub(most, one)
  semantics = Add(wide, nothing)
  first = Constant<value_ints=[1]>()
  cls = ReduceMean<keepdims=0>(semantics, first)
}
"""
DECODER = """
decoder (float[b, 3, 4] semantics, float[b, 4, 3] localization) => (uint8[b, 8, 8, 3] image) {
  most = ReduceMax<keepdims=0>(semantics)
  limit = Constant<value_float=1000.0>()
  above = Greater(most, limit)
  index = Cast<to=7>(above)
  one_number = Constant<value_floats=[0.0]>()
  nothing = Gather(one_number, index)
  dense = MatMul(localization, semantics)
  safe = Add(dense, nothing)
  starts = Constant<value_ints=[0]>()
  ends = Constant<value_ints=[3]>()
  axes = Constant<value_ints=[2]>()
  colours = Slice(safe, starts, ends, axes)
  cell_shape = Constant<value_ints=[0, 2, 1, 2, 1, 3]>()
  cells = Reshape(colours, cell_shape)
  block_shape = Constant<value_ints=[1, 2, 4, 2, 4, 3]>()
  blocks = Expand(cells, block_shape)
  image_shape = Constant<value_ints=[-1, 8, 8, 3]>()
  drawn = Reshape(blocks, image_shape)
  full = Constant<value_float=255.0>()
  levels = Mul(drawn, full)
  low = Constant<value_float=0.0>()
  clipped = Clip(levels, low, full)
  whole = Round(clipped)
  image = Cast<to=2>(whole)
}
"""


def of_grid(text: str, grid: tuple[int, int]) -> str:
    """A graph for another grid (h, w)."""
    h, w = grid
    for square, other in (
        ("8, 8, 3]", f"{4 * h}, {4 * w}, 3]"),
        ("float[b, 4, 3]", f"float[b, {h * w}, 3]"),
        ("[0, 3, 4]", f"[0, 3, {h * w}]"),
        ("[0, 2, 1, 2, 1, 3]", f"[0, {h}, 1, {w}, 1, 3]"),
        ("[1, 2, 4, 2, 4, 3]", f"[1, {h}, 4, {w}, 4, 3]"),
    ):
        text = text.replace(square, other)
    return text


def results(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """What the toy makes of images (B, H, W, 3)."""
    pixels = images / 255
    h, w = images.shape[1] // 4, images.shape[2] // 4
    semantics = np.repeat(pixels.mean((1, 2))[:, :, None], 4, axis=2)
    patches = pixels.reshape(-1, h, 4, w, 4, 3).mean((2, 4)).reshape(-1, h * w, 3)
    localization = np.exp(patches) / np.exp(patches).sum(2, keepdims=True)
    cells = (localization @ semantics)[:, :, :3].reshape(-1, h, w, 3)
    drawn = np.kron(cells * 255, np.ones((1, 4, 4, 1))).round().astype(np.uint8)
    floats = {"semantics": semantics, "localization": localization, "cls": semantics.mean(1)}
    return {**{name: array.astype(np.float32) for name, array in floats.items()}, "drawn": drawn}


def write_reference(folder: Path, darkest: int, seed: int, grid: tuple[int, int] = (2, 2)) -> None:
    """Write the toy's reference: two pictures, each with a pixel as dark as said."""
    size = 4 * grid[0], 4 * grid[1]
    images = np.random.default_rng(seed).integers(darkest, 256, (2, *size, 3), dtype=np.uint8)
    images[:, 0, 0] = darkest
    save_file({"image": images, **results(images)}, folder / "reference.safetensors")


def toy_statistics() -> dict[str, NDArray[np.float32]]:
    """Such that the mean token's four numbers, which are the same, come out as 1, 2, 3 and 4 times that less
    a tenth; token k's mean is k tenths.
    """
    means = np.repeat(np.arange(3)[:, None] / 10, 4, axis=1)
    return {
        "token_means": means.astype(np.float32),
        "center": np.full(4, 0.1, np.float32),
        "whitening": np.diag(np.arange(1, 5, dtype=np.float32)),
    }


def write_toy(
    folder: Path,
    *,
    darkest: int = 0,
    seed: int = 0,
    patches: tuple[int, int] = (2, 2),
    calibrated: bool = False,
    **changes: Any,
) -> Path:
    """Write the bundle into `folder`; `changes` replace fields of its manifest.

    Each seed makes another reference, and so another version. The lighter the darkest pixel of its reference
    is, the longer it takes to load.
    """
    folder.mkdir(parents=True)
    for name, text in (("encoder.onnx", ENCODER), ("decoder.onnx", DECODER)):
        graph = onnx.parser.parse_model(HEADER + of_grid(text, patches))
        onnx.checker.check_model(graph, full_check=True)
        data = graph.SerializeToString()
        (folder / name).write_bytes(data)
    write_reference(folder, darkest, seed, patches)
    if calibrated:
        save_file(toy_statistics(), folder / "statistics.safetensors")
        about = {"default": "whitened", "pooled": "mean", "shrinkage": 0.1, "pictures": 50, "judged": {}}
        changes = {"statistics": about} | changes
    if patches != (2, 2):
        changes = {"image_size": [4 * patches[0], 4 * patches[1]], "grid": patches} | changes
    write_manifest(folder, manifest_of(folder) | changes)
    return folder


def manifest_of(folder: Path) -> dict[str, Any]:
    """The toy's manifest for the files that are there."""
    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in folder.iterdir()
    }
    return {
        "format": 2,
        "name": "toy",
        "precision": "fp32",
        "image_size": 8,
        "patch_size": 4,
        "grid": [2, 2],
        "num_sparse_tokens": 3,
        "width": 4,
        "head": "pixel",
        "files": files,
        "source": {"checkpoint": "none"},
        "licence": "MIT",
        "quality": {},
        "parity": {},
        "limits": {"cosine_min": 0.999, "image_mean_levels": 8},
        "opset": 20,
        "exporter": {},
    }


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write `bundle.json` with the version of its content."""
    made_of = {name: manifest[name] for name in ("files", "precision", "statistics") if name in manifest}
    content = json.dumps(made_of, sort_keys=True)
    version = hashlib.sha256(content.encode()).hexdigest()[:12]
    (folder / "bundle.json").write_text(json.dumps(manifest | {"version": version}))


@cache
def toy_version(seed: int = 0) -> str:
    """The version of the toy with this seed, of whatever name."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_toy(Path(folder) / "toy", seed=seed)
        version: str = json.loads((bundle / "bundle.json").read_text())["version"]
    return version

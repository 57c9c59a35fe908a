"""What the model itself made of a few images: the measure of a bundle on the device that runs it.

H, W pixels · N patches · r sparse tokens · D width
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from service.runtime.bundle import REFERENCE, Bundle, BundleError

ENCODED = ("semantics", "localization", "cls")


class Deviation(NamedTuple):
    """How far results are from the model's, in the terms of the manifest's limits."""

    cosine_min: float
    image_mean_levels: float


class Reference:
    """Images, and the model's own results for them."""

    def __init__(self, bundle: Bundle) -> None:
        """Read it. Raises `BundleError` where it is not what the manifest says."""
        manifest = bundle.manifest
        try:
            arrays = load_file(bundle.folder / REFERENCE)
        except (SafetensorError, OSError) as error:
            raise BundleError(f"{manifest.name}: {REFERENCE} can't be read: {error}") from error
        self._count = max(1, len(arrays.get("image", ())))
        self._arrays: dict[str, NDArray[Any]] = {}
        tokens = manifest.num_sparse_tokens
        drawn_shape = arrays["drawn"].shape[1:3] if "drawn" in arrays else manifest.size
        for name, shape, dtype in (
            ("image", (*manifest.size, 3), np.uint8),
            ("semantics", (tokens, manifest.width), np.float32),
            ("localization", (manifest.num_patches, tokens), np.float32),
            ("cls", (manifest.width,), np.float32),
            ("drawn", (*drawn_shape, 3), np.uint8),
        ):
            where = f"{manifest.name}: {REFERENCE}: {name}"
            self._arrays[name] = expect(where, arrays.get(name), (self._count, *shape), np.dtype(dtype))

    def batches(self, size: int) -> list[dict[str, NDArray[Any]]]:
        """Batches of this size that have all images and their results; the last one begins again."""
        firsts = range(0, self._count, size)
        index = [np.arange(first, first + size) % self._count for first in firsts]
        return [{name: array[of] for name, array in self._arrays.items()} for of in index]


def expect(what: str, got: NDArray[Any] | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The array, where there is one of this shape and type. Raises `BundleError`."""
    if got is None or got.shape != shape or got.dtype != dtype:
        told = "nothing" if got is None else f"{got.dtype} {list(got.shape)}"
        raise BundleError(f"{what}: expected {dtype} {list(shape)}, got {told}")
    return got


def deviation(got: Mapping[str, NDArray[Any]], want: Mapping[str, NDArray[Any]]) -> Deviation:
    """How far the encoder's and the decoder's results are from those wanted; all have a batch axis."""
    cosines = [_cosines(got[name], want[name]) for name in ENCODED]
    levels = np.abs(got["drawn"].astype(np.float64) - want["drawn"].astype(np.float64))
    return Deviation(float(np.min(cosines)), float(levels.mean(axis=(1, 2, 3)).max()))


def _cosines(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """Of each item (B, …) with its counterpart; -1 where one is not finite."""
    a = one.reshape(len(one), -1).astype(np.float64)
    b = other.reshape(len(other), -1).astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    return np.where(np.isfinite(cosines), cosines, -1.0)

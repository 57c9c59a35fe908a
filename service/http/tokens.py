"""Tokens that callers send: as numbers, as base64 or as a safetensors file."""

from __future__ import annotations

from typing import Any

import numpy as np

from service.errors import BadTokens, shown
from service.http.documents import Text
from service.http.items import decode_base64
from service.http.numbers import flat_numbers
from service.http.requests import limit_images
from service.runtime.bundle import Manifest
from service.tokens.edits import LARGEST
from service.tokens.token_file import load_arrays
from service.tokens.types import Floats

HEADER_BYTES = 2**18
"""Most bytes of a safetensors file's header, and of what else it holds beside an image's arrays."""


def read_tokens(
    tokens: bytes | dict[str, Any], manifest: Manifest, max_images: int
) -> list[tuple[Floats, Floats]]:
    """Pairs of semantics (r, D) and localization (N, r) from what /tokens answers, in either form.

    JSON may have the grid [h, w] beside them, which base64 does not show. Rows of the localization are scaled
    to sum to 1. Raises `BadTokens` and `TooManyImages`.
    """
    r, width, n = manifest.num_sparse_tokens, manifest.width, manifest.num_patches
    if isinstance(tokens, bytes):
        arrays = _arrays(tokens, max_images * (r * width + n * r + width))
    else:
        arrays = tokens
    given = [name for name, array in arrays.items() if array is not None]
    missing = [name for name in ("semantics", "localization") if name not in given]
    if missing:
        raise BadTokens(f"tokens: {' and '.join(missing)} expected, got {shown(sorted(given))}.")
    semantics = _array("semantics", arrays["semantics"], (r, width))
    if (largest := np.abs(semantics).max()) > LARGEST:
        raise BadTokens(f"semantics: expected numbers of at most {LARGEST:.0f}, got {largest:g}.")
    localization = _array("localization", arrays["localization"], (n, r))
    shape = _shape(arrays["localization"])
    told = {"localization": list(shape[-3:-1])} if len(shape) > 2 and shape[-2] != n else {}
    if isinstance(tokens, dict) and "grid" in given:
        told["grid"] = tokens["grid"]
    # As many patches in other rows would be a scrambled picture.
    for name, grid in told.items():
        if grid != list(manifest.grid):
            expected = f"the grid {list(manifest.grid)}, rows and columns of patches"
            raise BadTokens(f"{name}: expected {expected}, got {shown(grid)}.")
    if len(semantics) != len(localization):
        raise BadTokens(f"tokens: {len(semantics)} semantics for {len(localization)} localizations.")
    limit_images(len(semantics), max_images)
    mass = localization.sum(axis=2, keepdims=True, dtype=np.float64)
    if (localization < 0).any() or (mass <= 0).any():
        raise BadTokens("localization: expected no negative number and some mass in every row.")
    return list(zip(semantics, (localization / mass).astype(np.float32), strict=True))


def _arrays(data: bytes, most: int) -> dict[str, Any]:
    """The arrays of a safetensors file, where it holds `most` numbers at most: of 8 bytes at most each."""
    largest = 8 * most + HEADER_BYTES
    if int.from_bytes(data[:8], "little") > len(data):
        raise BadTokens("tokens: the bytes are no safetensors file.")
    if len(data) > largest or int.from_bytes(data[:8], "little") > HEADER_BYTES:
        raise BadTokens(
            f"tokens: expected at most {largest} bytes, of which {HEADER_BYTES} are header: "
            "what the most images of this model take. Send fewer at once, of this model."
        )
    try:
        return dict(load_arrays(data))
    except ValueError as error:
        raise BadTokens(f"tokens: {error}.") from None


def _shape(value: Any) -> tuple[int, ...]:
    """Of an array, or of an evenly nested list; none of base64."""
    if isinstance(value, np.ndarray):
        return tuple(value.shape)
    return (len(value), *_shape(value[0])) if isinstance(value, list) else ()


def _array(name: str, value: Any, shape: tuple[int, int]) -> Floats:
    """Any number of arrays of a shape, (n, *shape), finite and float32."""
    size = shape[0] * shape[1]
    try:
        if isinstance(value, str | Text):
            text = value if isinstance(value, str) else value.view
            flat = np.frombuffer(decode_base64(text), dtype="<f4")
        else:
            flat = value.ravel() if isinstance(value, np.ndarray) else flat_numbers(value)
    except ValueError as error:
        why = f" ({error})" if isinstance(value, str | Text) else ""
        raise BadTokens(f"{name}: expected numbers, or base64 of little-endian float32{why}.") from None
    if flat.size == 0 or flat.size % size:
        raise BadTokens(f"{name}: expected {shape[0]} × {shape[1]} numbers an image, got {flat.size}.")
    with np.errstate(over="ignore"):  # what overflows is refused
        numbers = flat.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise BadTokens(f"{name}: expected finite numbers.")
    return numbers.reshape(-1, *shape)

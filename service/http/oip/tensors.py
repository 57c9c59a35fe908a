"""Tensors on the wire: numbers or strings in JSON, or bytes behind it.

A BYTES tensor holds encoded images: in JSON as base64 or data URIs, in bytes each with its length before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import BadTensor, shown
from service.http.items import from_base64
from service.http.numbers import flat_numbers

Tensor = NDArray[Any]
"""Numbers, or for BYTES an array of objects: each an image's bytes, or why there are none."""

Datatype = Literal["UINT8", "FP32", "BYTES"]
DTYPES: Mapping[str, np.dtype[Any]] = {"UINT8": np.dtype("u1"), "FP32": np.dtype("<f4")}
LENGTH_BYTES = 4


@dataclass(frozen=True)
class TensorSpec:
    """What a tensor of a model is like."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    """-1 stands for any number; the first axis is the batch."""

    def describe(self) -> dict[str, Any]:
        """As the protocol writes it."""
        return asdict(self) | {"shape": list(self.shape)}

    def check(self, datatype: str, shape: Sequence[int]) -> None:
        """Raise `BadTensor` where a tensor is not like this, or is empty."""
        fits = len(shape) == len(self.shape) and all(
            got == want or want == -1 for got, want in zip(shape, self.shape, strict=True)
        )
        if datatype != self.datatype or not fits or 0 in shape:
            expected = f"{self.datatype} {list(self.shape)}"
            raise BadTensor(
                f"input {self.name}: expected {expected}, got {shown(datatype)[1:-1]} {list(shape)}."
            )

    def from_bytes(self, section: memoryview, shape: Sequence[int]) -> Tensor:
        """A tensor of a shape that was checked. Raises `BadTensor` unless the bytes are exactly that long."""
        if self.datatype == "BYTES":
            return _objects(_split(section, shape[0], self.name))
        dtype = DTYPES[self.datatype]
        expected = math.prod(shape) * dtype.itemsize
        if len(section) != expected:
            raise BadTensor(
                f"input {self.name}: {self.datatype} {list(shape)} has {expected} bytes, got {len(section)}."
            )
        return np.frombuffer(section, dtype).reshape(shape)

    def from_elements(self, elements: Sequence[object], shape: Sequence[int]) -> Tensor:
        """A BYTES tensor of a shape that was checked. Raises `BadTensor` unless they are so many."""
        if len(elements) != shape[0]:
            raise BadTensor(f"input {self.name}: expected {shape[0]} strings, got {len(elements)}.")
        return _objects(elements)

    def from_json(self, data: Any, shape: Sequence[int]) -> Tensor:
        """A tensor of a shape that was checked, from a flat or nested list. Raises `BadTensor`."""
        if not isinstance(data, list):
            raise BadTensor(
                f"input {self.name}: expected data, a list, or binary_data_size, got {shown(data)}."
            )
        if self.datatype == "BYTES":
            return self.from_elements([from_base64(text) for text in data], shape)
        whole = self.datatype == "UINT8"
        try:
            array = flat_numbers(data, whole=whole)
        except ValueError as error:
            raise BadTensor(f"input {self.name}: {error}.") from None
        if array.size != math.prod(shape):
            raise BadTensor(
                f"input {self.name}: {list(shape)} has {math.prod(shape)} numbers, got {array.size}."
            )
        if whole and (array.min() < 0 or array.max() > 255):
            raise BadTensor(f"input {self.name}: expected numbers from 0 to 255.")
        with np.errstate(over="ignore"):  # what overflows is refused with all that is not finite
            return array.astype(DTYPES[self.datatype]).reshape(shape)


def _objects(elements: Sequence[object]) -> Tensor:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array


def _split(section: memoryview, count: int, name: str) -> list[bytes]:
    """Elements of a BYTES tensor: each its length, as 4 little-endian bytes, then itself."""
    elements, at = list[bytes](), 0
    for _ in range(count):
        start = at + LENGTH_BYTES
        end = start + int.from_bytes(section[at:start], "little")
        if end > len(section):
            raise BadTensor(
                f"input {name}: element {len(elements)} ends at byte {end} of {len(section)}; "
                "each element has its length before it, as 4 little-endian bytes."
            )
        elements.append(bytes(section[start:end]))
        at = end
    if at != len(section):
        raise BadTensor(f"input {name}: {count} elements end at byte {at} of {len(section)}.")
    return elements

"""Arrays as bytes, for other processes: a line that says what they are, then their numbers.

The line has name, type and shape of each, as `cls <f4 768;semantics <f4 16,768`, and spaces behind it, so
that the numbers begin where processors like it. Lines are few, and each is read once.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from service.runtime.engine import Arrays

ALIGNED = 16
"""Numbers begin at a multiple of so many bytes."""
LONGEST_LINE = 512
TYPES = ("|u1", "<f4")

Parts = tuple[bytes | memoryview, ...]
"""Bytes in pieces, one behind the other."""
Kind = tuple[str, np.dtype[np.generic], tuple[int, ...]]
"""An array's name, type and shape."""


class Malformed(ValueError):
    """Bytes that are not what they should be; the message says why."""


def pack(arrays: Arrays, before: bytes = b"") -> bytes:
    """Arrays as bytes, with others `before`, whose number is a multiple of `ALIGNED`."""
    return b"".join([before, *parts_of(arrays)])


def parts_of(arrays: Arrays) -> Parts:
    """Arrays as bytes that are still where they are: they must not change until those are read."""
    numbers = (np.ascontiguousarray(array).data.cast("B") for array in arrays.values())
    return (_line(kinds_of(arrays)), *numbers)


def unpack(data: bytes | bytearray, begin: int = 0) -> Arrays:
    """The arrays that lie in `data` from `begin` on; they can't be written. Raises `Malformed`."""
    end = data.find(b"\n", begin, begin + LONGEST_LINE) + 1
    kinds = _kinds(bytes(data[begin:end]))
    size = sum(dtype.itemsize * math.prod(shape) for _, dtype, shape in kinds)
    if len(data) - end != size:
        raise Malformed(f"arrays: expected {size} bytes for {told(kinds)}, got {len(data) - end}")
    arrays: Arrays = {}
    for name, dtype, shape in kinds:
        arrays[name] = np.frombuffer(data, dtype, math.prod(shape), end).reshape(shape)
        end += arrays[name].nbytes
    return arrays


def kinds_of(arrays: Arrays) -> tuple[Kind, ...]:
    """What arrays are."""
    return tuple((name, array.dtype, array.shape) for name, array in arrays.items())


def told(kinds: tuple[Kind, ...]) -> str:
    """The same for people."""
    return ", ".join(f"{name} {dtype} {list(shape)}" for name, dtype, shape in kinds) or "nothing"


@lru_cache
def _line(kinds: tuple[Kind, ...]) -> bytes:
    text = ";".join(f"{name} {dtype.str} {','.join(map(str, shape))}" for name, dtype, shape in kinds)
    return f"{text:{math.ceil((len(text) + 1) / ALIGNED) * ALIGNED - 1}}\n".encode()


@lru_cache
def _kinds(line: bytes) -> tuple[Kind, ...]:
    """What a line says. Raises `Malformed`."""
    kinds: list[Kind] = []
    try:
        for part in line.decode("ascii").rstrip(" \n").split(";"):
            name, kind, sides = part.split(" ")
            shape = tuple(int(side) for side in sides.split(","))
            if kind not in TYPES or min(shape) < 1:
                raise ValueError
            kinds.append((name, np.dtype(kind), shape))
    except ValueError:
        raise Malformed(f"arrays: {line[:64]!r} does not say what they are") from None
    return tuple(kinds)

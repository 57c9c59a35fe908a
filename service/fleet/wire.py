"""What stands in the streams: requests and answers as fields of bytes, arrays as safetensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from service.runtime.bundle import Manifest
from service.runtime.engine import Arrays, Stage

Fields = dict[bytes, bytes]

MAX_TTL_MS = 24 * 60 * 60 * 1000
"""Nobody waits longer than a day."""


class Malformed(ValueError):
    """An entry that is not what it should be; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One item to run."""

    item: str
    """Chosen by the process that waits; answers carry it back."""
    reply_to: str
    """The stream for the answer."""
    ttl_ms: int
    """Time from the entry's own until nobody waits any more."""
    request_id: str
    """Of the HTTP request, for logs; may be empty."""
    trace: str = ""
    """The request's place in its trace (W3C `traceparent`); empty where it is not traced."""
    arrays: Arrays

    def fields(self) -> list[str | bytes]:
        """Names and values in turn, as XADD takes them."""
        return [
            *("item", self.item, "reply_to", self.reply_to, "ttl_ms", str(self.ttl_ms)),
            *("request_id", self.request_id, "arrays", pack(self.arrays)),
            *(("trace", self.trace) if self.trace else ()),
        ]

    @classmethod
    def parse(cls, fields: Fields, stage: Stage, manifest: Manifest) -> Request:
        """Read an entry. Raises `Malformed` for anything that the model can't run."""
        try:
            request = cls(
                item=fields[b"item"].decode(),
                reply_to=fields[b"reply_to"].decode(),
                ttl_ms=int(fields[b"ttl_ms"]),
                request_id=fields[b"request_id"].decode(),
                trace=fields.get(b"trace", b"").decode(),
                arrays=unpack(fields[b"arrays"]),
            )
        except KeyError as error:
            raise Malformed(f"no field {error.args[0].decode()}") from None
        except ValueError as error:
            raise Malformed(str(error)) from None
        if not 0 <= request.ttl_ms <= MAX_TTL_MS:
            raise Malformed(f"expected 0 to {MAX_TTL_MS} ms, got {request.ttl_ms}")
        expected = inputs(stage, manifest)
        got = {name: (array.dtype, array.shape) for name, array in request.arrays.items()}
        if got != expected:
            raise Malformed(f"expected {_told(expected)}, got {_told(got)}")
        return request


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What became of an item."""

    item: str
    arrays: Arrays | None = None
    """The result, or None where it failed."""
    error: str = ""
    """What failed: a code of `FAILURES`."""
    queue_s: float = 0.0
    """Time that the item waited in Redis and in the worker."""
    inference_s: float = 0.0
    """Time that its batch ran."""

    def fields(self) -> list[str | bytes]:
        """Names and values in turn, as XADD takes them."""
        return [
            *("item", self.item, "error", self.error),
            *("queue_s", f"{self.queue_s:.6f}", "inference_s", f"{self.inference_s:.6f}"),
            *("arrays", b"" if self.arrays is None else pack(self.arrays)),
        ]

    @classmethod
    def parse(cls, fields: Fields) -> Reply:
        """Read an entry. Raises `Malformed`."""
        try:
            return cls(
                item=fields[b"item"].decode(),
                error=fields[b"error"].decode(),
                queue_s=float(fields[b"queue_s"]),
                inference_s=float(fields[b"inference_s"]),
                arrays=unpack(fields[b"arrays"]) if fields[b"arrays"] else None,
            )
        except KeyError as error:
            raise Malformed(f"no field {error.args[0].decode()}") from None
        except ValueError as error:
            raise Malformed(str(error)) from None


def pack(arrays: Arrays) -> bytes:
    """Arrays as safetensors."""
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def unpack(data: bytes) -> Arrays:
    """Arrays from safetensors. Raises `Malformed`."""
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise Malformed(f"arrays: {error}") from None


Shapes = dict[str, tuple[np.dtype[np.generic], tuple[int, ...]]]


def inputs(stage: Stage, manifest: Manifest) -> Shapes:
    """Types and shapes of a stage's inputs for one item."""
    if stage == "encode":
        return {"image": (np.dtype(np.uint8), (manifest.image_size, manifest.image_size, 3))}
    return {
        "semantics": (np.dtype(np.float32), (manifest.num_sparse_tokens, manifest.width)),
        "localization": (np.dtype(np.float32), (manifest.num_patches, manifest.num_sparse_tokens)),
    }


def check_result(stage: Stage, manifest: Manifest, arrays: Arrays) -> None:
    """Raise `Malformed` where arrays are not what a stage makes of one item; drawings have any size."""
    got = {name: (array.dtype, array.shape) for name, array in arrays.items()}
    tokens = inputs("decode", manifest)
    expected = tokens | {"cls": (np.dtype(np.float32), (manifest.width,))}
    if stage == "decode":
        height, width = arrays["image"].shape[:2] if "image" in arrays else (0, 0)
        expected = {"image": (np.dtype(np.uint8), (height, width, 3))}
    if got != expected:
        raise Malformed(f"expected {_told(expected)}, got {_told(got)}")


def _told(shapes: Shapes) -> str:
    return ", ".join(f"{name} {dtype} {list(shape)}" for name, (dtype, shape) in shapes.items()) or "nothing"

"""What stands in the streams: a request with its item in an entry, and in another the answers to a batch."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.batching.batcher import Outputs
from service.batching.layout import ALIGNED, Kind, Malformed, Parts, kinds_of, pack, parts_of, told, unpack
from service.runtime.bundle import Manifest
from service.runtime.engine import CONCEPTS, INPUTS, MEAN, OUTPUTS, WHITENED, Arrays, Stage

Fields = Mapping[bytes, bytes]

MAX_TTL_MS = 24 * 60 * 60 * 1000
"""Nobody waits longer than a day."""
TIMES = struct.Struct("<dd")
FAILED = b"!"
"""Stands before the code of an error; no arrays begin so."""
assert TIMES.size % ALIGNED == 0

FLOAT, BYTE = np.dtype(np.float32), np.dtype(np.uint8)


class Taken(NamedTuple):
    """What a stage of a model takes, and what it can give."""

    inputs: tuple[Kind, ...]
    outputs: frozenset[str]

    @classmethod
    def by(cls, stage: Stage, manifest: Manifest) -> Taken:
        """Of a model."""
        kinds = _kinds(manifest)
        outputs = kinds.keys() - {"image"} if stage == "encode" else OUTPUTS[stage]
        return cls(tuple(kinds[name] for name in INPUTS[stage]), frozenset(outputs))


class Request(BaseModel):
    """What an item needs beside its arrays."""

    model_config = ConfigDict(frozen=True, strict=True)

    number: int
    """Chosen by the process that waits; the answer carries it back."""
    reply_to: str
    """The stream for the answer."""
    ttl_ms: int = Field(ge=0, le=MAX_TTL_MS)
    """Time from the entry's own until nobody waits any more."""
    request_id: str
    """Of the HTTP request, for logs; may be empty."""
    trace: str
    """The request's place in its trace (W3C `traceparent`); empty where it is not traced."""
    outputs: Outputs = Field(min_length=1)
    """What is wanted of the item."""

    def fields(self, item: Arrays) -> tuple[str | bytes | Parts, ...]:
        """Names and values in turn, as XADD takes them."""
        return ("about", self.model_dump_json(), "item", parts_of(item))

    @classmethod
    def parse(cls, fields: Fields, taken: Taken) -> tuple[Request, Arrays]:
        """Read an entry. Raises `Malformed` for anything that the model can't run."""
        try:
            request = cls.model_validate_json(fields.get(b"about", b""))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise Malformed(".".join(map(str, ("about", *first["loc"]))) + f": {first['msg']}") from None
        if not taken.outputs.issuperset(request.outputs):
            raise Malformed(f"expected outputs of {sorted(taken.outputs)}, got {request.outputs}")
        item = unpack(fields.get(b"item", b""))
        if (got := kinds_of(item)) != taken.inputs:
            raise Malformed(f"expected {told(taken.inputs)}, got {told(got)}")
        return request, item


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What became of an item."""

    arrays: Arrays | None = None
    """The outputs that were wanted, or None where it failed."""
    error: str = ""
    """What failed: the code of an error."""
    queue_s: float = 0.0
    """Time that the item waited in Redis and in the worker."""
    inference_s: float = 0.0
    """Time that its batch ran."""

    def pack(self) -> bytes:
        """As it stands in an entry, under its item's number."""
        times = TIMES.pack(self.queue_s, self.inference_s)
        return times + FAILED + self.error.encode() if self.arrays is None else pack(self.arrays, times)

    @classmethod
    def parse(cls, data: bytes) -> Reply:
        """Read one. Raises `Malformed`."""
        if len(data) <= TIMES.size:
            raise Malformed(f"expected more than {TIMES.size} bytes, got {len(data)}")
        queue_s, inference_s = TIMES.unpack_from(data)
        if data.startswith(FAILED, TIMES.size):
            error = data[TIMES.size + len(FAILED) :].decode("utf-8", "replace")
            return cls(error=error, queue_s=queue_s, inference_s=inference_s)
        return cls(arrays=unpack(data, TIMES.size), queue_s=queue_s, inference_s=inference_s)


def check_result(stage: Stage, manifest: Manifest, outputs: Outputs, arrays: Arrays) -> None:
    """Raise `Malformed` where arrays are not these outputs of one item; drawings have any size."""
    kinds = _kinds(manifest)
    if stage == "decode" and "image" in arrays:
        kinds["image"] = ("image", BYTE, (*arrays["image"].shape[:2], 3))
    if (got := kinds_of(arrays)) != (expected := tuple(kinds[name] for name in outputs)):
        raise Malformed(f"expected {told(expected)}, got {told(got)}")


def _kinds(manifest: Manifest) -> dict[str, Kind]:
    """What an item's inputs and outputs are, by name."""
    tokens, width = manifest.num_sparse_tokens, manifest.width
    kinds: tuple[Kind, ...] = (
        ("image", BYTE, (*manifest.size, 3)),
        ("semantics", FLOAT, (tokens, width)),
        ("localization", FLOAT, (manifest.num_patches, tokens)),
        ("cls", FLOAT, (width,)),
        (MEAN, FLOAT, (width,)),
    )
    if manifest.statistics is not None:
        kinds += (WHITENED, FLOAT, (width,)), (CONCEPTS, FLOAT, (tokens, width))
    return {kind[0]: kind for kind in kinds}

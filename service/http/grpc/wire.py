"""A request as it travels: what is long stays where it came, and all else is bounded before it is built.

A message of protobuf is a row of fields, each a tag and a value (protobuf.dev/programming-guides/encoding).
Read as a whole, one may become objects of many times its size. Here tensors are cut out as views of the
message's bytes, and protobuf reads the rest, which is short.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from service.errors import BadRequest, BadTensor
from service.http.grpc.protocol import ModelInferRequest
from service.http.oip.calls import MAX_TENSORS

INPUTS, RAW = 5, 7
"""Fields of ModelInferRequest."""
CONTENTS = 5
"""A field of InferInputTensor."""
VARINT, I64, LEN, I32 = 0, 1, 2, 5
"""How values are written."""
FIXED = {I64: 8, I32: 4}
MAX_FIELDS = 256
"""Of a message: a sound request has some dozen."""
MAX_HEAD_BYTES = 2**16
"""What may be beside the tensors."""
MAX_VARINT_BYTES = 10

Pieces = dict[int, list[memoryview]]
"""Values of a message by the number of their field."""


@dataclass(frozen=True)
class Sent:
    """A request, cut up."""

    head: Any
    """The ModelInferRequest without its tensors' contents."""
    contents: list[Pieces]
    """Of each input, what it has in fields of its type."""
    raw: list[memoryview]
    """Tensors as bytes, one for each input."""


def cut(message: bytes) -> Sent:
    """Read a ModelInferRequest. Raises `BadRequest` where it is none, or too much of it is no tensor."""
    view = memoryview(message)
    head, contents, raw = list[bytes | memoryview](), list[Pieces](), list[memoryview]()
    for number, value, whole in fields(view):
        if number == RAW:
            raw.append(value)
        elif number == INPUTS:
            rest, its_contents = _cut_input(value)
            head += _written(INPUTS, rest)
            contents.append(its_contents)
        else:
            head.append(whole)
        if max(len(raw), len(contents)) > MAX_TENSORS:
            raise BadTensor(f"inputs: expected at most {MAX_TENSORS}.")
    if (size := sum(map(len, head))) > MAX_HEAD_BYTES:
        raise BadRequest(f"A request may have {MAX_HEAD_BYTES} bytes beside its tensors, got {size}.")
    try:
        return Sent(ModelInferRequest.FromString(b"".join(head)), contents, raw)
    except DecodeError:
        raise _malformed() from None


def _cut_input(value: memoryview) -> tuple[bytes, Pieces]:
    """An InferInputTensor without its contents, and these."""
    rest, contents = list[memoryview](), Pieces()
    for number, inner, whole in fields(value):
        if number != CONTENTS:
            rest.append(whole)
            continue
        for kind, piece, _ in fields(inner):
            contents.setdefault(kind, []).append(piece)
    return b"".join(rest), contents


def fields(view: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """The fields of a message: the number of each, its value, and all of it. Raises `BadRequest`."""
    at, count = 0, 0
    while at < len(view):
        begin = at
        tag, at = _varint(view, at)
        kind = tag & 7
        start = at
        if kind == LEN:
            length, start = _varint(view, at)
            at = start + length
        elif kind == VARINT:
            _, at = _varint(view, at)
        elif kind in FIXED:
            at += FIXED[kind]
        else:
            raise _malformed()
        count += 1
        if at > len(view) or count > MAX_FIELDS:
            raise _malformed()
        yield tag >> 3, view[start:at], view[begin:at]


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """A number, seven bits a byte, and where it ends."""
    number = 0
    for shift, byte in enumerate(view[at : at + MAX_VARINT_BYTES]):
        number |= (byte & 127) << 7 * shift
        if byte < 128:
            return number, at + shift + 1
    raise _malformed()


def _written(number: int, value: bytes) -> list[bytes]:
    return [bytes([number << 3 | LEN]), length(len(value)), value]


def length(size: int) -> bytes:
    """A number, seven bits a byte."""
    written = bytearray()
    while size > 127:
        written.append(size & 127 | 128)
        size >>= 7
    written.append(size)
    return bytes(written)


def _malformed() -> BadRequest:
    return BadRequest(
        "This is no ModelInferRequest that can be read: check what sends it; send many numbers packed, or as "
        f"raw_input_contents. A message may have {MAX_FIELDS} fields."
    )

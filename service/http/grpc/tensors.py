"""A request as a call, and its outcome as an answer; tensors travel as bytes, or in fields of their type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from service.errors import BadTensor
from service.http.grpc.protocol import ModelInferResponse
from service.http.grpc.wire import Pieces, Sent, length
from service.http.oip.calls import Call, Parameters, check_batch, chosen, specs_of
from service.http.oip.messages import MAX_AXES, OutputParameters
from service.http.oip.tensors import Datatype, Tensor, TensorSpec
from service.http.options import validated
from service.http.requests import limit_images
from service.tokens.choices import Pooling

FIELDS: Mapping[Datatype, tuple[int, str]] = {
    "UINT8": (4, "uint_contents"),
    "FP32": (6, "fp32_contents"),
    "BYTES": (8, "bytes_contents"),
}
"""Where InferTensorContents has the elements of a type."""
RAW_OUTPUT = bytes([6 << 3 | 2])
"""The tag of ModelInferResponse's raw_output_contents."""


def read_call(
    sent: Sent,
    *,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    parameters: type[Parameters],
    max_images: int,
) -> Call:
    """A request to a model that takes and gives these tensors. Raises errors under `BadRequest`."""
    head = sent.head
    for output in head.outputs:
        validated(OutputParameters, _values(output.parameters))
    return Call(
        id=head.id or None,
        inputs=_read_inputs(sent, inputs, max_images),
        parameters=validated(parameters, _values(head.parameters)),
        outputs=[(spec, True) for spec in chosen([output.name for output in head.outputs], outputs)],
    )


def _values(parameters: Any) -> dict[str, Any]:
    """Parameters as Python has them; one without a value is none."""
    named = {name: (value, value.WhichOneof("parameter_choice")) for name, value in parameters.items()}
    return {name: kind and getattr(value, kind) for name, (value, kind) in named.items()}


def _read_inputs(sent: Sent, specs: Sequence[TensorSpec], max_images: int) -> dict[str, Tensor]:
    fields = sent.head.inputs
    by_name = specs_of([field.name for field in fields], specs)
    if sent.raw and len(sent.raw) != len(fields):
        raise BadTensor(
            f"raw_input_contents: expected one for each of {len(fields)} inputs, got {len(sent.raw)}."
        )
    tensors: dict[str, Tensor] = {}
    for i, field in enumerate(fields):
        spec = by_name[field.name]
        shape = list(field.shape[: MAX_AXES + 1])
        spec.check(field.datatype, shape)
        if shape[0] < 0:
            raise BadTensor(f"input {field.name}: expected a size for each axis, got {shape}.")
        limit_images(shape[0], max_images)
        if not sent.raw:
            tensors[field.name] = _typed(spec, sent.contents[i], shape)
        elif sent.contents[i]:
            raise BadTensor(f"input {field.name}: expected raw_input_contents or contents, got both.")
        else:
            tensors[field.name] = spec.from_bytes(sent.raw[i], shape)
    check_batch(tensors)
    return tensors


def _typed(spec: TensorSpec, contents: Pieces, shape: Sequence[int]) -> Tensor:
    """A tensor out of the field of its type. Raises `BadTensor`."""
    number, name = FIELDS[spec.datatype]
    if set(contents) - {number}:
        raise BadTensor(f"input {spec.name}: expected {spec.datatype} in {name} or in raw_input_contents.")
    pieces = contents.get(number, [])
    if spec.datatype == "BYTES":
        return spec.from_elements([bytes(piece) for piece in pieces], shape)
    packed = pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
    return spec.from_bytes(_unpacked(packed, spec.name) if spec.datatype == "UINT8" else packed, shape)


def _unpacked(packed: memoryview, name: str) -> memoryview:
    """Numbers from 0 to 255, of which those from 128 on are written as themselves and a 1.

    Raises `BadTensor` for others.
    """
    written = np.frombuffer(packed, np.uint8)
    goes_on = written > 127
    follows = np.concatenate(([False], goes_on))
    if follows[-1] or (written[follows[:-1]] != 1).any():
        raise BadTensor(f"input {name}: expected numbers from 0 to 255.")
    return written[~follows[:-1]].data


def write_answer(
    call: Call,
    arrays: Mapping[str, Tensor],
    *,
    model: str,
    version: str,
    pooling: Pooling | None,
) -> bytes:
    """A ModelInferResponse; `pooling` tells which vectors it has."""
    answer = ModelInferResponse(model_name=model, model_version=version, id=call.id or "")
    if pooling is not None:
        answer.parameters["pooling"].string_param = pooling
    pieces: list[Any] = []
    for spec, _ in call.outputs:
        array = np.ascontiguousarray(arrays[spec.name])
        answer.outputs.add(name=spec.name, datatype=spec.datatype, shape=array.shape)
        pieces += RAW_OUTPUT, length(array.nbytes), array.data.cast("B")
    return b"".join((answer.SerializeToString(), *pieces))

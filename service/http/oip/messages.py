"""Requests and answers of the protocol: a JSON document, and behind it the bytes of its binary tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import orjson
from pydantic import ConfigDict, Field
from starlette.responses import Response

from service.errors import BadRequest, BadTensor, shown
from service.http.compression import accepted_encoding, compress
from service.http.documents import read_object
from service.http.oip.calls import MAX_TENSORS, Call, Name, Parameters, check_batch, chosen, specs_of
from service.http.oip.tensors import Tensor, TensorSpec
from service.http.options import Sent, validated
from service.http.requests import limit_images
from service.http.responses import JSON
from service.tokens.choices import Pooling

HEADER_LENGTH = "inference-header-content-length"
OCTETS = "application/octet-stream"
MAX_AXES = 8


class InputField(Sent):
    """An input; of its parameters only `binary_data_size` counts."""

    name: Name
    datatype: Name
    shape: Annotated[list[Annotated[int, Field(ge=0, strict=True)]], Field(max_length=MAX_AXES)]
    parameters: dict[str, Any] = Field(default_factory=dict)
    data: Any = None


class OutputParameters(Sent):
    """How an output is to be written."""

    model_config = ConfigDict(extra="forbid")
    binary_data: bool | None = None


class OutputField(Sent):
    """An output that is asked for."""

    name: Name
    parameters: OutputParameters = OutputParameters()


class InferRequest(Sent):
    """The JSON of a request."""

    id: Name | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    inputs: Annotated[list[InputField], Field(max_length=MAX_TENSORS)]
    outputs: Annotated[list[OutputField], Field(max_length=MAX_TENSORS)] = Field(default_factory=list)


def read_call(
    body: bytes,
    json_bytes: str | None,
    *,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    parameters: type[Parameters],
    max_images: int,
) -> Call:
    """Read a request to a model that takes and gives these tensors.

    `json_bytes` is the header that says how long the JSON is; without it all of the body is JSON.
    Raises errors under `BadRequest`.
    """
    if json_bytes is None:
        length = len(body)
    elif (
        json_bytes.isascii()
        and json_bytes.isdigit()
        and len(json_bytes) < 20
        and int(json_bytes) <= len(body)
    ):
        length = int(json_bytes)
    else:
        raise BadRequest(
            f"{HEADER_LENGTH}: expected 0 to {len(body)}, the body's length, got {shown(json_bytes)}."
        )
    request = validated(InferRequest, read_object(body[:length]))
    wanted = validated(parameters, request.parameters)
    return Call(
        id=request.id,
        inputs=_read_inputs(request.inputs, memoryview(body)[length:], inputs, max_images),
        parameters=wanted,
        outputs=_chosen(request.outputs, outputs, wanted.binary_data_output),
    )


def _read_inputs(
    fields: Sequence[InputField], sections: memoryview, specs: Sequence[TensorSpec], max_images: int
) -> dict[str, Tensor]:
    by_name = specs_of([field.name for field in fields], specs)
    tensors, at = dict[str, Tensor](), 0
    for field in fields:
        spec = by_name[field.name]
        spec.check(field.datatype, field.shape)
        limit_images(field.shape[0], max_images)
        size = field.parameters.get("binary_data_size")
        if size is None:
            tensors[field.name] = spec.from_json(field.data, field.shape)
            continue
        left = len(sections) - at
        if type(size) is not int or not 0 <= size <= left:
            raise BadTensor(
                f"input {field.name}: binary_data_size: the body has {left} bytes for it, got {shown(size)}."
            )
        tensors[field.name] = spec.from_bytes(sections[at : at + size], field.shape)
        at += size
    if at != len(sections):
        raise BadTensor(f"The body has {len(sections) - at} bytes behind its last tensor.")
    check_batch(tensors)
    return tensors


def _chosen(
    fields: Sequence[OutputField], specs: Sequence[TensorSpec], binary: bool
) -> list[tuple[TensorSpec, bool]]:
    """The outputs that are asked for, or all."""
    forms = {field.name: field.parameters.binary_data for field in fields}
    asked = chosen([field.name for field in fields], specs)
    return [(spec, binary if (form := forms.get(spec.name)) is None else form) for spec in asked]


def write_answer(
    call: Call,
    arrays: Mapping[str, Tensor],
    *,
    model: str,
    version: str,
    pooling: Pooling | None,
    accept_encoding: str,
) -> Response:
    """The answer to a call, compressed where the client takes it; `pooling` tells which vectors it has."""
    fields, sections = list[dict[str, Any]](), list[bytes]()
    for spec, binary in call.outputs:
        array = arrays[spec.name]
        field = {"name": spec.name, "datatype": spec.datatype, "shape": list(array.shape)}
        if binary:
            sections.append(array.tobytes())
            fields.append(field | {"parameters": {"binary_data_size": len(sections[-1])}})
        else:
            fields.append(field | {"data": np.ascontiguousarray(array).ravel()})
    document: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": fields}
    if pooling is not None:
        document["parameters"] = {"pooling": pooling}
    if call.id is not None:
        document["id"] = call.id
    header = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = {HEADER_LENGTH: str(len(header))} if sections else {}
    body = b"".join((header, *sections))
    if encoding := accepted_encoding(accept_encoding):
        body = compress(body, encoding)
        headers["content-encoding"] = encoding
    return Response(body, headers=headers, media_type=OCTETS if sections else JSON)

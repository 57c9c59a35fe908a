"""What is fuzzed: each target takes bytes, and raises where something happens that must not."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np
import orjson
from google.protobuf.message import DecodeError

from service.batching.layout import Malformed
from service.errors import BadEdit, BadRequest, BadTensor, CorruptImage, ServiceError
from service.fleet.wire import Reply, Request, Taken
from service.http import documents
from service.http.app import create_app
from service.http.documents import read_object, read_value
from service.http.grpc.protocol import ModelInferRequest
from service.http.grpc.tensors import read_call as read_tensors
from service.http.grpc.wire import cut
from service.http.items import from_base64
from service.http.multipart import read_form
from service.http.oip.messages import read_call
from service.http.oip.stages import STAGES
from service.http.tokens import read_tokens
from service.runtime.bundle import Manifest, read_bundle
from service.runtime.engine import STAGES as WIRE_STAGES
from service.settings import read_settings
from service.tokens.canvas import apply_edits
from service.tokens.edits import parse_edits
from service.tokens.pictures import decode_image
from service.tokens.token_file import load_arrays
from tests.service.toy import write_toy

SIDE, MAX_PIXELS, MAX_IMAGES, MAX_EDITS = 16, 1_000_000, 4, 8
OURS = "/service/"
MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    TypeError,
    RecursionError,
)
"""What is raised by code that expected something else, never on purpose."""
EDGES = (0, 1, 7, 64)
"""Sizes of pieces in which a form comes; 0 for all at once."""
ROUTES: Mapping[int, tuple[str, dict[str, str]]] = dict(
    enumerate(
        [
            ("/embed", {"content-type": "image/png"}),
            ("/embed", {"content-type": "application/json"}),
            ("/tokens?heatmaps=true", {"content-type": "multipart/form-data; boundary=x"}),
            ("/reconstruct", {"content-type": "application/json", "accept": "application/json"}),
            ("/reconstruct", {"content-type": "multipart/form-data; boundary=x"}),
            ("/reconstruct", {"content-type": "application/safetensors"}),
            ("/v1/embeddings", {"content-type": "application/json"}),
            ("/v2/models/toy.embed/infer", {"content-type": "application/json"}),
            ("/v2/models/toy.encoder/infer", {"content-type": "application/json"}),
            ("/v2/models/toy.decoder/infer", {"content-type": "application/json"}),
            ("/embed", {"content-type": "application/json", "content-encoding": "gzip"}),
        ]
    )
)


def picture(data: bytes) -> None:
    """A picture is decoded to the size that was asked for, or refused by what a decoder says of it."""
    try:
        decoded = decode_image(data, SIDE, "crop", MAX_PIXELS)
    except CorruptImage as error:
        cause = error.__cause__
        frames = traceback.extract_tb(cause.__traceback__) if cause is not None else []
        if frames and OURS in frames[-1].filename and isinstance(cause, MISTAKES):
            raise AssertionError("".join(traceback.format_exception(cause))) from None
    except ServiceError:
        pass
    else:
        assert decoded.pixels.shape == (SIDE, SIDE, 3)
        assert decoded.source.width * decoded.source.height <= MAX_PIXELS


def form(data: bytes) -> None:
    """A form means the same in whichever pieces it comes."""
    results = set()
    for size in EDGES:
        try:
            parts = asyncio.run(read_form("multipart/form-data; boundary=x", _pieces(data, size), 8))
        except BadRequest:
            results.add("refused")
        else:
            results.add(repr([(part.name, part.content.getvalue(), part.is_file) for part in parts]))
    assert len(results) == 1, results


async def _pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size or max(1, len(data))):
        yield data[at : at + (size or len(data))]


def text(data: bytes) -> None:
    """Base64 is read or refused; what is read is what it says, whatever its form."""
    value = data.decode("latin-1")
    item = from_base64(value)
    if isinstance(item, bytes) and value.lstrip()[:5].lower() != "data:":
        assert 0 <= len(value) - len(item) * 4 / 3 <= len(value)


def document(data: bytes) -> None:
    """A document whose long texts stay in the body is the one that a parser reads at once."""
    with patch.multiple(documents, SMALL_BYTES=0, LONG_TEXT_BYTES=2):
        try:
            found, expected = read_object(data), orjson.loads(data.removeprefix(documents.BOM))
        except (BadRequest, orjson.JSONDecodeError):  # a long text is not looked into until it is decoded
            return
    assert _whole(found) == expected


def _whole(value: Any) -> Any:
    match value:
        case documents.Text(view=view):
            return orjson.loads(b'"' + bytes(view) + b'"')
        case dict():
            return {name: _whole(each) for name, each in value.items()}
        case list():
            return [_whole(each) for each in value]
    return value


def tokens(data: bytes) -> None:
    """Tokens in either form are read or refused."""
    manifest = _manifest()
    try:
        for semantics, localization in read_tokens(data, manifest, MAX_IMAGES):
            assert np.isfinite(semantics).all()
            assert np.allclose(localization.sum(-1), 1, atol=1e-4)
    except BadRequest:
        pass
    with contextlib.suppress(ValueError):
        load_arrays(data)
    with contextlib.suppress(BadRequest):
        read_tokens(read_object(data), manifest, MAX_IMAGES)


def edits(data: bytes) -> None:
    """Edits leave finite tokens and rows that sum to 1, or are refused."""
    rng = np.random.default_rng(0)
    semantics = rng.normal(size=(3, 4)).astype(np.float32)
    localization = rng.dirichlet(np.ones(3), 4).astype(np.float32)
    try:
        parsed = parse_edits(read_value(data.decode(errors="replace")), MAX_EDITS)
        after, where = apply_edits(semantics, localization, (2, 2), parsed, [semantics])
    except (BadEdit, BadRequest, ValueError):
        return
    assert np.isfinite(after).all()
    assert np.allclose(where.sum(-1), 1, atol=1e-4)


def call(data: bytes) -> None:
    """A call of the Open Inference Protocol; its first bytes choose the model and the JSON's length."""
    stage = list(STAGES.values())[data[0] % len(STAGES) if data else 0](_manifest())
    length = None if len(data) < 2 or data[1] == 255 else str(data[1])
    try:
        found = read_call(
            data[2:],
            length,
            inputs=stage.inputs,
            outputs=stage.outputs,
            parameters=stage.parameters,
            max_images=MAX_IMAGES,
        )
    except (BadRequest, BadTensor):
        return
    assert found.batch <= MAX_IMAGES


def message(data: bytes) -> None:
    """A call over gRPC; its first byte chooses the model. Tensors in fields are those that protobuf reads."""
    stage = list(STAGES.values())[data[0] % len(STAGES) if data else 0](_manifest())
    try:
        sent = cut(data[1:])
        found = read_tensors(
            sent,
            inputs=stage.inputs,
            outputs=stage.outputs,
            parameters=stage.parameters,
            max_images=MAX_IMAGES,
        )
    except BadRequest:
        return
    assert found.batch <= MAX_IMAGES
    with contextlib.suppress(DecodeError):  # it is stricter about what nobody looks at
        for its in ModelInferRequest.FromString(data[1:]).inputs if not sent.raw else ():
            values = {"UINT8": its.contents.uint_contents, "FP32": its.contents.fp32_contents}.get(
                its.datatype, its.contents.bytes_contents
            )
            assert found.inputs[its.name].ravel().tolist() == list(values) or its.datatype == "FP32"


def wire(data: bytes) -> None:
    """Entries of Redis's streams: a request's two fields with a zero between them; an answer."""
    about, _, item = data.partition(b"\0")
    fields = {b"about": about, b"item": item}
    for stage in WIRE_STAGES:
        with contextlib.suppress(Malformed):
            Request.parse(fields, Taken.by(stage, _manifest()))
    with contextlib.suppress(Malformed):
        Reply.parse(data)


def request(data: bytes) -> None:
    """A request is answered; nothing unexpected happens."""
    path, headers = ROUTES[data[0] % len(ROUTES) if data else 0]
    loop, client = _client()
    answer = loop.run_until_complete(client.post(path, content=data[1:], headers=headers))
    assert answer.status_code in {200, 400, 413, 415, 422}, (path, answer.status_code, answer.text)
    assert "internal_error" not in answer.text, (path, answer.text)


@cache
def _models() -> Path:
    models = Path(tempfile.mkdtemp())
    write_toy(models / "toy")
    return models


@cache
def _manifest() -> Manifest:
    return read_bundle(_models() / "toy").manifest


@cache
def _client() -> tuple[asyncio.AbstractEventLoop, httpx.AsyncClient]:
    """The service in this process, once it is ready."""
    loop = asyncio.new_event_loop()
    app = create_app(read_settings(models_dir=_models(), threads=1, max_image_pixels=MAX_PIXELS))

    async def start() -> httpx.AsyncClient:
        await app.router.lifespan_context(app).__aenter__()
        await app.state.models.loaded()
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fuzz")

    return loop, loop.run_until_complete(start())


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (picture, form, text, document, tokens, edits, call, message, wire, request)
}

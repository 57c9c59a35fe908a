"""What fuzzing begins with: sound inputs of every kind, all our own."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from service.batching.layout import pack
from service.fleet.wire import Reply, Request
from service.http.grpc.protocol import ModelInferRequest
from service.tokens.token_file import compact
from tests.fuzz.targets import ROUTES
from tests.service.photos import plain
from tests.service.tokens.kinds import KINDS
from tests.service.toy import results

EDITS = (
    [{"op": "drop", "token": 0}],
    [{"op": "keep", "tokens": [0, 2]}],
    [{"op": "scale", "token": 1, "factor": 0.5}],
    [{"op": "swap", "tokens": [0, 1]}],
    [{"op": "replace", "token": 0, "with": {"donor": 0, "token": 1}}],
    [{"op": "blend", "token": 0, "toward": {"semantics": [1, 2, 3, 4]}, "alpha": 0.5}],
    [{"op": "move", "token": 0, "dx": 1, "dy": -1}],
    [{"op": "paint", "token": 2, "rectangle": [0, 0, 1, 2]}, {"op": "paint", "token": 1, "cells": [[1, 1]]}],
)


def write_corpus(target: str, folder: Path) -> None:
    """A file for each input of a target."""
    folder.mkdir(parents=True)
    for i, data in enumerate(SEEDS[target]()):
        (folder / f"{i:03}").write_bytes(data)


def _pictures() -> Iterator[bytes]:
    for kind in KINDS:
        if len(data := kind.make()) < 20_000:
            yield data


def _forms() -> Iterator[bytes]:
    image = plain(9)
    for head in (
        'Content-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png',
        "content-disposition: form-data; name=image",
        'Content-Disposition: form-data; name="fit"',
    ):
        yield b"--x\r\n" + head.encode() + b"\r\n\r\n" + image + b"\r\n--x--\r\n"


def _texts() -> Iterator[bytes]:
    yield base64.b64encode(plain(9))
    yield b"data:image/png;base64," + base64.urlsafe_b64encode(plain(8))
    yield b"data:image/png;base64,AA%2B%2F"


def _documents() -> Iterator[bytes]:
    yield b'{"image":"AAAA\\n\\/AA=","texts":["\\u00e9\\\\","\\"AAAA"],"name":{"n":[1,-2.5e3,null]}}'
    yield from (each[2:] for each in _calls())


def _arrays() -> dict[str, np.ndarray]:
    given = results(np.zeros((1, 8, 8, 3), np.uint8))
    return {name: np.asarray(given[name], np.float32) for name in ("semantics", "localization", "cls")}


def _tokens() -> Iterator[bytes]:
    arrays = _arrays()
    yield save(arrays)
    yield save(compact(arrays))
    yield json.dumps({name: array.tolist() for name, array in arrays.items()}).encode()
    text = {name: base64.b64encode(array.tobytes()).decode() for name, array in arrays.items()}
    yield json.dumps(text | {"grid": [2, 2]}).encode()


def _edits() -> Iterator[bytes]:
    for edits in EDITS:
        yield json.dumps(edits).encode()


def _calls() -> Iterator[bytes]:
    image = base64.b64encode(plain(9)).decode()
    tensors = (
        ("image", "UINT8", [1, 8, 8, 3], [0] * 192),
        ("semantics", "FP32", [1, 3, 4], [0.5] * 12),
        ("image", "BYTES", [1], [image]),
    )
    for i, (name, datatype, shape, data) in enumerate(tensors):
        field = {"name": name, "datatype": datatype, "shape": shape}
        yield bytes([i, 255]) + json.dumps({"inputs": [field | {"data": data}]}).encode()
    head = json.dumps(
        {
            "inputs": [
                {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}
            ]
        }
    ).encode()
    yield bytes([2, len(head)]) + head + b"\1\0\0\0x"


def _messages() -> Iterator[bytes]:
    image = plain(9)
    contents = (
        ("image", "UINT8", [1, 8, 8, 3], {"uint_contents": [0, 200] * 96}, bytes(192)),
        ("semantics", "FP32", [1, 3, 4], {"fp32_contents": [0.5] * 12}, bytes(48)),
        ("image", "BYTES", [1], {"bytes_contents": [image]}, len(image).to_bytes(4, "little") + image),
    )
    for i, (name, datatype, shape, typed, raw) in enumerate(contents):
        tensor = {"name": name, "datatype": datatype, "shape": shape}
        parameters = {"timeout": {"int64_param": 5}}
        for its, more in (({"contents": typed}, {}), ({}, {"raw_input_contents": [raw]})):
            request = ModelInferRequest(
                model_name="toy.embed", inputs=[tensor | its], parameters=parameters, **more
            )
            yield bytes([i]) + request.SerializeToString()


def _entries() -> Iterator[bytes]:
    request = Request(number=1, reply_to="r", ttl_ms=5, request_id="", trace="", outputs=("image",))
    about = request.model_dump_json().encode()
    yield about.replace(b"image", b"cls") + b"\0" + pack({"image": np.zeros((8, 8, 3), np.uint8)})
    yield about + b"\0" + pack({name: array for name, array in _arrays().items() if name != "cls"})
    yield Reply(arrays=dict(_arrays())).pack()
    yield Reply(error="internal_error").pack()


def _requests() -> Iterator[bytes]:
    image = base64.b64encode(plain(9)).decode()
    bodies = {
        "image/png": [plain(9)],
        "application/json": [
            json.dumps({"image": image, "fit": "pad"}).encode(),
            json.dumps({"image": image, "edits": EDITS[3]}).encode(),
            json.dumps({"input": f"data:image/png;base64,{image}"}).encode(),
            *(each[2:] for each in _calls()),
            *(b'{"tokens":' + each + b"}" for each in _tokens() if each.startswith(b"{")),
        ],
        "multipart/form-data; boundary=x": list(_forms()),
        "application/safetensors": [each for each in _tokens() if not each.startswith(b"{")],
    }
    for number, (_, headers) in ROUTES.items():
        for body in bodies[headers["content-type"]]:
            packed = gzip.compress(body) if "content-encoding" in headers else body
            yield bytes([number]) + packed


SEEDS: Mapping[str, partial[Iterator[bytes]]] = {
    "picture": partial(_pictures),
    "form": partial(_forms),
    "text": partial(_texts),
    "document": partial(_documents),
    "tokens": partial(_tokens),
    "edits": partial(_edits),
    "call": partial(_calls),
    "message": partial(_messages),
    "wire": partial(_entries),
    "request": partial(_requests),
}

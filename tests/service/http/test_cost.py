"""What a body costs, whatever is in it: memory in proportion to its size, and never the event loop's time."""

from __future__ import annotations

import base64
import gzip
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from service.http.documents import (
    LONG_TEXT_BYTES,
    MAX_BYTES,
    MAX_ESCAPED_BYTES,
    MAX_LISTS,
    MAX_TEXTS,
    MAX_VALUES,
)
from tests.service.photos import plain
from tests.service.server import Server, running

MB = 2**20
LONGEST_STOP_S = 1.0
"""Of the event loop, in the service's processor time, which other processes do not lengthen."""
SPARE_MB = 60

JSON = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=b"}
TOKENS = {"content-type": "application/vnd.safetensors"}
INFER = "/v2/models/encoder/infer"
IMAGE = {"name": "image", "datatype": "UINT8", "shape": [1, 8, 8, 3]}
PHOTO = base64.b64encode(plain(0)).decode()
NO_IMAGE = base64.b64encode(bytes(9 * MB)).decode()


class Kind(NamedTuple):
    """A body by what is in it, and what is told of it."""

    name: str
    path: str
    headers: dict[str, str]
    body: Callable[[], bytes]
    status: int
    told: str


def document(**fields: Any) -> Callable[[], bytes]:
    return lambda: json.dumps(fields).encode()


def text(begin: str, filling: str, size: int, end: str) -> Callable[[], bytes]:
    """Text with something in it as often as it goes into so many bytes."""
    return lambda: (begin + filling * (size // len(filling)) + end).encode()


def part(name: str, filling: bytes, size: int) -> Callable[[], bytes]:
    """A form with one field, filled so."""
    head = f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n'.encode()
    return lambda: head + filling * (size // len(filling)) + b"\r\n--b--\r\n"


def zipped(body: Callable[[], bytes]) -> Callable[[], bytes]:
    return lambda: gzip.compress(body(), 1)


def edits(*edits: dict[str, Any]) -> Callable[[], bytes]:
    return document(image=[PHOTO] * 8, edits=edits)


KINDS = (
    Kind("base64", "/embed", JSON, document(image=NO_IMAGE), 422, "unknown_image_format"),
    Kind("base64 in lines", "/embed", JSON, text('{"image":"', "A" * 76 + "\\n", 12 * MB, '"}'), 422, "unkn"),
    Kind("base64 with \\/", "/embed", JSON, text('{"image":"', "\\/AA", 12 * MB, '"}'), 422, "unknown_image"),
    Kind("a data URI", "/embed", JSON, document(image=f"data:image/png;base64,{NO_IMAGE}"), 422, "unknown"),
    Kind("a wrong end", "/embed", JSON, document(image=f"{NO_IMAGE}*"), 422, "character 12582913 is *"),
    Kind("no base64", "/embed", JSON, document(image="é" * 6 * MB), 413, "json_too_large"),
    Kind("a wide text", "/embed", JSON, document(image="😀" + "A" * 3 * MB), 422, "corrupt_image"),
    Kind("a long option", "/embed", JSON, document(image=PHOTO, fit="x" * 12 * MB), 400, "bad_option"),
    Kind("a long name", "/embed", JSON, document(image=PHOTO, **{"x" * 3 * MB: 1}), 400, "no such option"),
    Kind("many names", "/embed", JSON, document(**{str(i): 1 for i in range(20_000)}), 400, "no_image"),
    Kind("lists", "/embed", JSON, document(image=[[]] * (MAX_LISTS - 9)), 400, "too_many_images"),
    Kind("more lists", "/embed", JSON, document(image=[[]] * MAX_LISTS), 413, "json_too_large"),
    Kind("strings", "/embed", JSON, document(image=["A" * 9] * (MAX_TEXTS + 1)), 413, "json_too_large"),
    Kind("spaces", "/embed", JSON, text('{"image":', " ", MAX_BYTES, "1}"), 413, "json_too_large"),
    Kind("brackets", "/embed", JSON, text('{"image":', "[", MAX_LISTS - 9, ""), 400, "deep nesting"),
    Kind(
        "backslashes", "/embed", JSON, text('{"image":"', "\\\\", MAX_ESCAPED_BYTES, '"}'), 413, "too_large"
    ),
    Kind("zipped lists", "/embed", JSON, zipped(document(image=[[]] * 4 * MAX_LISTS)), 413, "json_too_large"),
    Kind("a base64 field", "/embed", FORM, part("image", b"AAAA", 12 * MB), 422, "unknown_image_format"),
    Kind("a long field", "/embed", FORM, part("fit", b"x", 12 * MB), 400, "at most 1048576 bytes"),
    Kind("dashes", "/embed", FORM, part("image", b"-", 12 * MB), 422, "unknown_image_format"),
    Kind("boundaries", "/embed", FORM, part("image", b"\r\n--a", 12 * MB), 422, "unknown_"),
    Kind("zipped zeros", "/embed", FORM, zipped(part("image", b"A", 32 * MB)), 422, "unknown_image_format"),
    Kind(
        "numbers",
        "/reconstruct",
        JSON,
        document(tokens={"semantics": [0.12345] * (MAX_VALUES - 9), "localization": [1]}),
        400,
        f"numbers an image, got {MAX_VALUES - 9}",
    ),
    Kind(
        "more numbers",
        "/reconstruct",
        JSON,
        document(tokens={"semantics": [0.12345] * (MAX_VALUES + 1), "localization": [1]}),
        413,
        "Send images and numbers as base64",
    ),
    Kind(
        "a long and many empty strings",
        "/reconstruct",
        JSON,
        document(tokens={"semantics": ["x" * LONG_TEXT_BYTES, *[""] * 5000], "localization": [1]}),
        400,
        "semantics: expected numbers",
    ),
    Kind(
        "compact tokens",
        "/reconstruct",
        TOKENS,
        lambda: save({"semantics": np.zeros(9, np.float32), "localization": np.ones(9 * MB, np.uint8)}),
        400,
        "what the most images of this model take",
    ),
    Kind("edits", "/reconstruct", JSON, edits(*[{}] * 60_000), 400, "at most 64, got 60000"),
    Kind("keep", "/reconstruct", JSON, edits({"op": "keep", "tokens": [0] * 500_000}), 400, "16384 items"),
    Kind("paint", "/reconstruct", JSON, edits({"op": "paint", "cells": [[0, 0]] * 60_000}), 400, "bad_edit"),
    Kind("edits in a field", "/reconstruct", FORM, part("edits", b"[],", MB), 400, "no_image"),
    Kind("inputs", INFER, JSON, document(inputs=[{}] * 60_000), 400, "at most 16 items"),
    Kind("outputs", INFER, JSON, document(inputs=[], outputs=[{}] * 60_000), 400, "at most 16 items"),
    Kind("a shape", INFER, JSON, document(inputs=[IMAGE | {"shape": [1] * 500_000}]), 400, "at most 8 items"),
    Kind("a name", INFER, JSON, document(inputs=[IMAGE | {"name": "x" * MB}]), 400, "inputs.0.name"),
    Kind("levels", INFER, JSON, document(inputs=[IMAGE | {"data": [1] * 500_000}]), 400, "has 192 numbers"),
    Kind("messages", "/v1/embeddings", JSON, document(messages=[{}] * 60_000), 400, "at most 64 items"),
    Kind("inputs of v1", "/v1/embeddings", JSON, document(input=[1] * 500_000), 400, "too_many_images"),
    Kind("a text", "/v1/embeddings", JSON, document(input="x" * 12 * MB), 400, "a text of 12582912 bytes"),
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, toy_models: Path) -> Iterator[Server]:
    """The small model, with limits as they are shipped."""
    with running(tmp_path_factory.mktemp("toy") / "log", {}, "--models", str(toy_models)) as server:
        yield server


def memory_mb(server: Server, key: str) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.findall(rf"{key}:\s+(\d+)", status)[0]) / 1024


@contextmanager
def watched(server: Server) -> Iterator[list[float]]:
    """What the service worked while others waited for the event loop, again and again."""
    waits, over, begun = list[float](), threading.Event(), threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            while not over.is_set():
                before_s = server.worked_s
                client.get("/healthz/live")
                waits.append(server.worked_s - before_s)
                begun.set()
                over.wait(0.005)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert begun.wait(60)
        yield waits
    finally:
        over.set()
        asking.join()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_body_is_read_or_refused_within_its_size_while_others_are_served(toy: Server, kind: Kind) -> None:
    body, packed = kind.body(), kind.name.startswith("zipped")
    headers = kind.headers | ({"content-encoding": "gzip"} if packed else {})
    size_mb = len(gzip.decompress(body) if packed else body) / MB
    Path(f"/proc/{toy.process.pid}/clear_refs").write_text("5")  # the peak is counted from here
    before_mb = memory_mb(toy, "VmRSS")
    with watched(toy) as waits:
        answer = toy.client.post(kind.path, content=body, headers=headers)
    peak_mb = memory_mb(toy, "VmHWM") - before_mb
    print(f"{kind.name}: {size_mb:.1f} MB, peak +{peak_mb:.0f} MB, longest stop {1000 * max(waits):.0f} ms")
    assert (answer.status_code, kind.told in answer.text) == (kind.status, True), answer.text
    assert len(answer.content) < 2000
    assert peak_mb < 4 * size_mb + SPARE_MB
    assert max(waits) < LONGEST_STOP_S


def test_many_images_of_a_few_kilobytes_are_read(toy: Server) -> None:
    """Together they are far longer than JSON may be beside base64."""
    uri = f"data:image/png;base64,{PHOTO}" + " " * 16_000
    answer = toy.client.post("/v1/embeddings", json={"input": [uri] * 2000})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["data"]) == 2000

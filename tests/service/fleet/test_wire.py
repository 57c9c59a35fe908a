"""Entries survive the way there and back; anything else is refused with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from service.batching.layout import Malformed, pack
from service.fleet.wire import Fields, Reply, Request, Taken
from service.runtime.bundle import read_bundle

IMAGE = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
REQUEST = Request(number=7, reply_to="r", ttl_ms=5, request_id="q", trace="t", outputs=("cls", "mean"))


@pytest.fixture(scope="module")
def taken(toy_models: Path) -> Taken:
    return Taken.by("encode", read_bundle(toy_models / "toy").manifest)


def entry(**arrays: np.ndarray) -> Fields:
    """Fields as Redis gives them back."""
    _, about, _, item = REQUEST.fields(arrays)
    assert isinstance(about, str)
    assert isinstance(item, tuple)
    return {b"about": about.encode(), b"item": b"".join(item)}


def test_request_reads_back_the_same(taken: Taken) -> None:
    request, item = Request.parse(entry(image=IMAGE), taken)
    assert request == REQUEST
    np.testing.assert_array_equal(item["image"], IMAGE)


def test_reply_reads_back_the_same() -> None:
    semantics = np.array([[0.1, -2.5]], np.float32)
    reply = Reply.parse(Reply(arrays={"s": semantics}, queue_s=0.25, inference_s=0.5).pack())
    assert (reply.error, reply.queue_s, reply.inference_s) == ("", 0.25, 0.5)
    assert reply.arrays is not None
    np.testing.assert_array_equal(reply.arrays["s"], semantics)
    failed = Reply.parse(Reply(error="internal_error", queue_s=0.25).pack())
    assert (failed.arrays, failed.error, failed.queue_s) == (None, "internal_error", 0.25)


@pytest.mark.parametrize("missing", ["number", "reply_to", "ttl_ms", "request_id", "trace", "outputs"])
def test_missing_field_is_named(taken: Taken, missing: str) -> None:
    fields = dict(entry(image=IMAGE))
    about = json.loads(fields[b"about"])
    del about[missing]
    with pytest.raises(Malformed, match=rf"about.{missing}: Field required"):
        Request.parse(fields | {b"about": json.dumps(about).encode()}, taken)


@pytest.mark.parametrize(
    "arrays",
    [
        {"image": IMAGE.astype(np.float32)},
        {"image": IMAGE[:4]},
        {"picture": IMAGE},
        {"image": IMAGE, "more": IMAGE},
    ],
)
def test_arrays_that_the_model_cannot_run_are_refused(taken: Taken, arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(Malformed, match=r"expected image uint8 \[8, 8, 3\], got"):
        Request.parse(entry(**arrays), taken)


@pytest.mark.parametrize("ttl_ms", ["-1", "86400001", "9" * 400, "9" * 5000, "NaN", "5.5", '"5"'])
def test_impossible_times_are_refused(taken: Taken, ttl_ms: str) -> None:
    about = REQUEST.model_dump_json().replace('"ttl_ms":5', f'"ttl_ms":{ttl_ms}')
    with pytest.raises(Malformed, match="about"):
        Request.parse({**entry(image=IMAGE), b"about": about.encode()}, taken)


@pytest.mark.parametrize("outputs", [(), ("image",), ("mean", "drawn")])
def test_outputs_that_there_are_not_are_refused(taken: Taken, outputs: tuple[str, ...]) -> None:
    about = REQUEST.model_copy(update={"outputs": outputs}).model_dump_json()
    with pytest.raises(Malformed, match="outputs"):
        Request.parse({**entry(image=IMAGE), b"about": about.encode()}, taken)


@pytest.mark.parametrize("fields", [{}, {b"about": b""}, {b"about": b"\xff"}, {b"item": pack({"i": IMAGE})}])
def test_entries_without_what_they_need_are_refused(taken: Taken, fields: Fields) -> None:
    with pytest.raises(Malformed, match="about: "):
        Request.parse(fields, taken)
    with pytest.raises(Malformed, match="arrays: "):
        Request.parse({b"about": entry(image=IMAGE)[b"about"]}, taken)


@pytest.mark.parametrize("data", [b"", bytes(16), bytes(16) + b"x", b"!internal_error"])
def test_bytes_that_are_no_reply_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        Reply.parse(data)

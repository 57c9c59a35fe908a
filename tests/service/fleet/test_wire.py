"""Entries survive the way there and back; anything else is refused with its reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.fleet.wire import Fields, Malformed, Reply, Request, pack
from service.runtime.bundle import Manifest, read_bundle

IMAGE = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)


@pytest.fixture(scope="module")
def manifest(toy_models: Path) -> Manifest:
    return read_bundle(toy_models / "toy").manifest


def entry(parts: list[str | bytes]) -> Fields:
    """Fields as Redis gives them back."""
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    return dict(zip(encoded[::2], encoded[1::2], strict=True))


def request_fields(**arrays: np.ndarray) -> Fields:
    request = Request(item="i", reply_to="r", ttl_ms=5, request_id="q", arrays=arrays)
    return entry(request.fields())


def test_request_reads_back_the_same(manifest: Manifest) -> None:
    request = Request.parse(request_fields(image=IMAGE), "encode", manifest)
    assert (request.item, request.reply_to, request.ttl_ms, request.request_id) == ("i", "r", 5, "q")
    np.testing.assert_array_equal(request.arrays["image"], IMAGE)
    assert request.trace == ""  # the field is only there where the request is traced
    assert Request.parse(entry(replace(request, trace="t").fields()), "encode", manifest).trace == "t"


def test_reply_reads_back_the_same() -> None:
    semantics = np.array([[0.1, -2.5]], np.float32)
    reply = Reply.parse(entry(Reply(item="i", arrays={"s": semantics}, queue_s=0.25).fields()))
    assert (reply.item, reply.error, reply.queue_s) == ("i", "", 0.25)
    assert reply.arrays is not None
    np.testing.assert_array_equal(reply.arrays["s"], semantics)
    assert Reply.parse(entry(Reply(item="i", error="internal_error").fields())).arrays is None


@pytest.mark.parametrize("missing", [b"item", b"reply_to", b"ttl_ms", b"request_id", b"arrays"])
def test_missing_field_is_named(manifest: Manifest, missing: bytes) -> None:
    fields = request_fields(image=IMAGE)
    del fields[missing]
    with pytest.raises(Malformed, match=f"no field {missing.decode()}"):
        Request.parse(fields, "encode", manifest)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"image": IMAGE.astype(np.float32)},
        {"image": IMAGE[:4]},
        {"picture": IMAGE},
        {"image": IMAGE, "more": IMAGE},
    ],
)
def test_arrays_that_the_model_cannot_run_are_refused(
    manifest: Manifest, arrays: dict[str, np.ndarray]
) -> None:
    with pytest.raises(Malformed, match=r"expected image uint8 \[8, 8, 3\], got"):
        Request.parse(request_fields(**arrays), "encode", manifest)


@pytest.mark.parametrize("ttl_ms", [b"-1", b"86400001", b"9" * 400, b"9" * 5000, b"nan"])
def test_impossible_times_are_refused(manifest: Manifest, ttl_ms: bytes) -> None:
    with pytest.raises(Malformed):
        Request.parse(request_fields(image=IMAGE) | {b"ttl_ms": ttl_ms}, "encode", manifest)


@pytest.mark.parametrize("data", [b"", b"\x80\x04.", b"\xff" * 8, pack({"image": IMAGE})[:-1]])
def test_bytes_that_are_no_arrays_are_refused(manifest: Manifest, data: bytes) -> None:
    fields = request_fields(image=IMAGE) | {b"arrays": data}
    with pytest.raises(Malformed, match="arrays: "):
        Request.parse(fields, "encode", manifest)

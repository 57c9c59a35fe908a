"""Messages on the wire: in every form that the protocol has, and as no sound client sends them."""

from __future__ import annotations

import random
import struct
from typing import Any

import grpc
import numpy as np
import pytest

from service.errors import BadRequest
from service.http.grpc.protocol import ModelInferRequest
from service.http.grpc.wire import cut, fields, length
from tests.service.http.grpc.wire import infer, pixels, refused, request, written
from tests.service.photos import plain
from tests.service.server import Server
from tests.service.toy import results

SHAPE = (1, 8, 8, 3)
RAW = bytes(192)


def arrays(answer: Any) -> dict[str, Any]:
    """What an answer holds."""
    kinds = {"FP32": np.float32, "UINT8": np.uint8}
    return {
        output.name: np.frombuffer(raw, kinds[output.datatype]).reshape(output.shape)
        for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }


def test_tensors_are_views_of_the_message() -> None:
    message = written(pixels(3, 4))
    (raw,) = cut(message).raw
    assert raw.obj is message
    assert raw == bytes([3]) * 192 + bytes([4]) * 192


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 2**21, 2**35])
def test_lengths_are_written_as_protobuf_has_them(size: int) -> None:
    whole = ModelInferRequest(inputs=[{"shape": [size]}]).SerializeToString()
    assert whole.endswith(length(size))


def test_fields_are_those_that_protobuf_finds() -> None:
    message = request(
        "encoder", "image", "UINT8", SHAPE, RAW, id="7", parameters={"timeout": {"int64_param": 5}}
    )
    view = memoryview(written(message))
    found = list(fields(view))
    assert [number for number, _, _ in found] == [1, 3, 4, 5, 7]
    assert b"".join(whole for _, _, whole in found) == view
    assert bytes(found[0][1]) == b"encoder"


def test_numbers_may_stand_in_the_fields_of_their_type(toy_channel: grpc.Channel) -> None:
    levels = np.arange(192, dtype=np.uint8).reshape(SHAPE)
    levels[0, 0, 0] = (0, 255, 128)
    typed = request(
        "encoder", "image", "UINT8", SHAPE, tensor={"contents": {"uint_contents": levels.ravel()}}
    )
    raw = request("encoder", "image", "UINT8", SHAPE, levels.tobytes())
    answers = [arrays(infer(toy_channel)(each)) for each in (typed, raw)]
    expected = results(levels)
    for answer in answers:
        for name in ("semantics", "localization", "cls"):
            np.testing.assert_allclose(answer[name], expected[name], atol=1e-5)
    tokens = {
        name: {"datatype": "FP32", "shape": array.shape, "contents": {"fp32_contents": array.ravel()}}
        for name, array in answers[0].items()
        if name != "cls"
    }
    inputs = [{"name": name, **tensor} for name, tensor in tokens.items()]
    drawn = arrays(infer(toy_channel)(ModelInferRequest(model_name="decoder", inputs=inputs)))["image"]
    assert np.abs(drawn.astype(int) - expected["drawn"]).max() <= 1


def test_images_may_stand_in_the_field_of_bytes(toy: Server, toy_channel: grpc.Channel) -> None:
    photos = [plain(10), plain(20)]
    typed = request("embed", "image", "BYTES", [2], tensor={"contents": {"bytes_contents": photos}})
    np.testing.assert_allclose(
        arrays(infer(toy_channel)(typed))["embedding"], toy.embedded(*photos), atol=1e-6
    )


def typed(**contents: Any) -> Any:
    return request("encoder", "image", "UINT8", SHAPE, tensor={"contents": contents})


def of_image(datatype: str = "UINT8", shape: tuple[int, ...] = SHAPE, *raw: bytes, **more: Any) -> Any:
    return request("encoder", "image", datatype, shape, *raw, **more)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (of_image("UINT8", SHAPE, RAW[1:]), "has 192 bytes, got 191"),
        (of_image("UINT8", SHAPE, RAW, RAW), "expected one for each of 1 inputs, got 2"),
        (of_image("UINT8", (2**62, 8, 8, 3), RAW), "At most 32 images"),
        (of_image("UINT8", (1, 8, 8, 2**62), RAW), "expected UINT8 [-1, 8, 8, 3]"),
        (of_image("UINT8", (-1, 8, 8, 3), RAW), "expected a size for each axis, got [-1, 8, 8, 3]"),
        (of_image("UINT8", (), RAW), "got UINT8 []"),
        (of_image("UINT8", (1,) * 2000, RAW), "expected UINT8 [-1, 8, 8, 3]"),
        (of_image("STRING", SHAPE, RAW), "got STRING"),
        (of_image("FP32", SHAPE, RAW), "got FP32"),
        (of_image("UINT8", SHAPE, RAW, tensor={"contents": {"uint_contents": [1]}}), "got both"),
        (of_image(), "has 192 bytes, got 0"),
        (typed(uint_contents=[1] * 191), "has 192 bytes, got 191"),
        (typed(uint_contents=[256] * 192), "expected numbers from 0 to 255"),
        (typed(uint_contents=[2**32 - 1] * 192), "expected numbers from 0 to 255"),
        (typed(int_contents=[1] * 192), "expected UINT8 in uint_contents"),
        (typed(bytes_contents=[b""] * 300), "A message may have 256 fields"),
        (
            request("embed", "image", "BYTES", [2], struct.pack("<I", 9) + b"abc"),
            "element 0 ends at byte 13 of 7",
        ),
        (ModelInferRequest(model_name="encoder"), "expected ['image'], got []"),
        (ModelInferRequest(model_name="encoder", inputs=[{}] * 17), "expected at most 16"),
        (ModelInferRequest(model_name="encoder", outputs=[{}] * 300), "A message may have 256 fields"),
        (of_image("UINT8", SHAPE, RAW, outputs=[{"name": "cls"}] * 2), "each once"),
        (of_image("UINT8", SHAPE, RAW, id="x" * 70_000), "65536 bytes beside its tensors"),
        (of_image("UINT8", SHAPE, RAW, parameters={"timeout": {"int64_param": -1}}), "timeout"),
        (of_image("UINT8", SHAPE, RAW, parameters={"timeout": {"double_param": 0.5}}), "timeout"),
        (b"\xff" * 40, "no ModelInferRequest that can be read"),
        (b"\x0b", "no ModelInferRequest that can be read"),
        (b"\x0a\x05abc", "no ModelInferRequest that can be read"),
        (b"\x0a\x01\xff", "no ModelInferRequest that can be read"),
        (b"\x3a" + b"\x00" * 40, "no ModelInferRequest that can be read"),
    ],
)
def test_messages_that_lie_are_refused(toy_channel: grpc.Channel, message: Any, told: str) -> None:
    status, code, detail = refused(infer(toy_channel), message)
    assert status == grpc.StatusCode.INVALID_ARGUMENT
    assert code in ("bad_request", "bad_tensor", "bad_option", "too_many_images")
    assert told in detail


def test_message_beyond_the_limit_is_refused(toy_channel: grpc.Channel) -> None:
    status, _, detail = refused(infer(toy_channel), of_image("UINT8", SHAPE, bytes(1_000_000)))
    assert status == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "vs. 1000000" in detail


def test_compressed_messages_are_refused(toy: Server, toy_channel: grpc.Channel) -> None:
    status, _, detail = refused(infer(toy_channel), pixels(0), compression=grpc.Compression.Gzip)
    assert (status, detail) == (grpc.StatusCode.UNIMPLEMENTED, "Compression algorithm 'gzip' is disabled.")
    assert "gzip" not in toy.log


def test_damaged_requests_never_break_the_service(toy: Server, toy_channel: grpc.Channel) -> None:
    source = random.Random(5)
    element = struct.pack("<I", len(plain(3))) + plain(3)
    sound = [written(pixels(0)), written(request("embed", "image", "BYTES", [1], element))]
    statuses = set()
    for i in range(200):
        body = bytearray(sound[i % 2])
        for _ in range(source.randint(0, 3)):
            body[source.randrange(len(body))] = source.randrange(256)
        cut_at = source.choice((len(body), len(body), source.randrange(len(body))))
        call = infer(toy_channel).with_call
        try:
            statuses.add(call(bytes(body[:cut_at]), timeout=30)[1].code())
        except grpc.RpcError as error:
            statuses.add(error.code())
    codes = grpc.StatusCode
    assert (
        {codes.OK, codes.INVALID_ARGUMENT} <= statuses <= {codes.OK, codes.INVALID_ARGUMENT, codes.NOT_FOUND}
    )
    assert toy.answers("/v2/health/ready", 200)


def test_random_bytes_are_cut_or_refused() -> None:
    source = random.Random(7)
    for _ in range(2000):
        data = source.randbytes(source.randrange(60))
        try:
            cut(data)
        except BadRequest:
            continue
        ModelInferRequest.FromString(data)

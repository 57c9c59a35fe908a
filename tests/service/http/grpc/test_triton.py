"""gRPC as Triton's own client meets it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc.aio
import tritonclient.http
from numpy.typing import NDArray
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from tests.service.http.grpc.wire import port
from tests.service.server import Server

SIDE = 96
TOKENS = ("semantics", "localization", "cls")


@pytest.fixture(scope="module")
def triton(both: Server) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(f"127.0.0.1:{port(both)}") as client:
        yield client


def tensor(name: str, array: NDArray[Any], datatype: str) -> InferInput:
    return InferInput(name, list(array.shape), datatype).set_data_from_numpy(array)


def images(*photos: bytes) -> InferInput:
    return tensor("image", np.array(photos, dtype=object), "BYTES")


def noise(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def over_http(server: Server, model: str, *inputs: tuple[str, NDArray[Any], str]) -> Any:
    """What the same client gets over HTTP."""
    made = [
        tritonclient.http.InferInput(name, list(array.shape), kind).set_data_from_numpy(array)
        for name, array, kind in inputs
    ]
    with tritonclient.http.InferenceServerClient(server.url.removeprefix("http://")) as client:
        return client.infer(model, made)


def test_server_and_models_describe_themselves(both: Server, triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.get_server_metadata(as_json=True)["name"] == "stellar-service"
    version = both.client.get("/models").json()["models"][0]["version"]
    for name in ("encoder", "decoder", "embed", "stellar-tiny.embed"):
        assert triton.is_model_ready(name)
        assert triton.is_model_ready(name, version)
        told = triton.get_model_metadata(name, version, as_json=True)
        over = both.client.get(f"/v2/models/{name}").json()
        for side in ("inputs", "outputs"):
            shapes = [{**each, "shape": [int(n) for n in each["shape"]]} for each in told[side]]
            assert shapes == over[side]
        assert (told["name"], told["versions"]) == (name, [version])


@pytest.mark.parametrize(
    ("name", "version"), [("resnet", ""), ("other.encoder", ""), ("encoder", "1"), ("", "")]
)
def test_unknown_models_and_versions_are_not_found(
    triton: InferenceServerClient, name: str, version: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton.get_model_metadata(name, version)
    assert caught.value.status() == "StatusCode.NOT_FOUND"


@pytest.mark.parametrize("count", [1, 3])
def test_encoder_and_decoder_give_what_they_give_over_http(
    both: Server, triton: InferenceServerClient, count: int
) -> None:
    batch = noise(count)
    encoded = triton.infer("encoder", [tensor("image", batch, "UINT8")])
    over = over_http(both, "encoder", ("image", batch, "UINT8"))
    for name in TOKENS:
        np.testing.assert_allclose(encoded.as_numpy(name), over.as_numpy(name), atol=1e-5)
    tokens = [(name, encoded.as_numpy(name), "FP32") for name in ("localization", "semantics")]
    drawn = triton.infer("decoder", [tensor(*each) for each in tokens]).as_numpy("image")
    assert drawn.shape == (count, SIDE, SIDE, 3)
    over = over_http(both, "decoder", *tokens).as_numpy("image")
    assert np.abs(drawn.astype(int) - over).max() <= 1


def test_embed_takes_encoded_images(
    both: Server, triton: InferenceServerClient, photo: bytes, other_photo: bytes
) -> None:
    vectors = triton.infer("embed", [images(photo, other_photo)]).as_numpy("embedding")
    np.testing.assert_allclose(vectors, both.embedded(photo, other_photo), atol=1e-5)


def test_parameters_are_the_options_of_embed(
    both: Server, triton: InferenceServerClient, photo: bytes
) -> None:
    parameters = {"pooling": "cls", "fit": "pad", "normalize": False}
    answer = triton.infer("embed", [images(photo)], parameters=parameters)
    assert answer.get_response().parameters["pooling"].string_param == "cls"
    expected = both.embedded(photo, pooling="cls", fit="pad", normalize="false")
    np.testing.assert_allclose(answer.as_numpy("embedding"), expected, atol=1e-5)


def test_only_the_outputs_that_were_asked_for_come(triton: InferenceServerClient) -> None:
    outputs = [InferRequestedOutput("cls"), InferRequestedOutput("semantics")]
    result = triton.infer("encoder", [tensor("image", noise(1), "UINT8")], outputs=outputs)
    assert [output.name for output in result.get_response().outputs] == ["cls", "semantics"]
    everything = triton.infer("encoder", [tensor("image", noise(1), "UINT8")])
    for name in ("cls", "semantics"):
        np.testing.assert_allclose(result.as_numpy(name), everything.as_numpy(name), atol=1e-5)


def test_id_and_version_stand_in_the_answer(triton: InferenceServerClient, photo: bytes) -> None:
    (version,) = triton.get_model_metadata("embed").versions
    answer = triton.infer("embed", [images(photo)], model_version=version, request_id="mine").get_response()
    assert (answer.id, answer.model_name, answer.model_version) == ("mine", "embed", version)


def test_asynchronous_calls_on_one_connection_are_all_answered(both: Server, photo: bytes) -> None:
    async def ask() -> list[InferResult]:
        async with tritonclient.grpc.aio.InferenceServerClient(f"127.0.0.1:{port(both)}") as client:
            return await asyncio.gather(*(client.infer("embed", [images(photo)]) for _ in range(8)))

    expected = both.embedded(photo)
    for result in asyncio.run(ask()):
        np.testing.assert_allclose(result.as_numpy("embedding"), expected, atol=1e-5)


def refused(
    triton: InferenceServerClient, model: str, *inputs: InferInput, **options: Any
) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(model, list(inputs), **options)
    return caught.value.status().removeprefix("StatusCode."), caught.value.message()


def test_tensors_that_do_not_fit_are_told_what_was_expected(triton: InferenceServerClient) -> None:
    wrong = tensor("image", noise(1)[:, :90], "UINT8")
    assert refused(triton, "encoder", wrong) == (
        "INVALID_ARGUMENT",
        "input image: expected UINT8 [-1, 96, 96, 3], got UINT8 [1, 90, 96, 3].",
    )
    named = tensor("pixels", noise(1), "UINT8")
    assert refused(triton, "encoder", named)[1] == "inputs: expected ['image'], got ['pixels']."
    many = tensor("image", np.zeros((33, SIDE, SIDE, 3), np.uint8), "UINT8")
    assert refused(triton, "encoder", many)[1] == "At most 32 images are taken in one request, got 33."


def test_one_bad_image_fails_its_request(triton: InferenceServerClient, photo: bytes) -> None:
    status, message = refused(triton, "embed", images(photo, photo[:2000]))
    assert status == "INVALID_ARGUMENT"
    assert message.startswith("image 1: ")
    assert "truncated" in message


def test_parameters_that_are_none_are_refused(triton: InferenceServerClient, photo: bytes) -> None:
    for parameters, told in (
        ({"pool": "cls"}, "pool: there is no such option"),
        ({"pooling": 7}, "pooling: "),
    ):
        status, message = refused(triton, "embed", images(photo), parameters=parameters)
        assert status == "INVALID_ARGUMENT"
        assert message.startswith(told)


def test_timeout_is_counted_in_microseconds(triton: InferenceServerClient, photo: bytes) -> None:
    assert refused(triton, "embed", images(photo), timeout=1)[0] == "DEADLINE_EXCEEDED"
    assert triton.infer("embed", [images(photo)], timeout=60_000_000).as_numpy("embedding").shape == (1, 192)

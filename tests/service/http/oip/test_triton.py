"""/v2 as Triton's own client meets it."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
import tritonclient.http.aio
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from tests.service.photos import data_uri, encoded, pixels_of
from tests.service.server import Server

SIDE = 96
TOKENS = ("semantics", "localization", "cls")


def tensor(name: str, array: NDArray[Any], datatype: str, *, binary: bool = True) -> InferInput:
    return InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)


def images(*photos: bytes, binary: bool = True) -> InferInput:
    return tensor("image", np.array(photos, dtype=object), "BYTES", binary=binary)


def pixels(*photos: bytes) -> NDArray[np.uint8]:
    """Photos as the model's own pixels: small, so that nothing is cropped or resized on the way."""
    return np.stack([np.asarray(Image.fromarray(pixels_of(photo)).resize((SIDE, SIDE))) for photo in photos])


def tokens_of(server: Server, batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """What /tokens says of pixels."""
    files = [("image", encoded(Image.fromarray(each))) for each in batch]
    accept = {"accept": "application/vnd.safetensors"}
    arrays = load(server.client.post("/tokens", files=files, headers=accept).content)
    arrays["localization"] = arrays["localization"].reshape(len(batch), 144, 16)
    return {name: arrays[name] for name in TOKENS}


def test_server_and_models_describe_themselves(server: Server, triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    version = server.client.get("/models").json()["models"][0]["version"]
    for name in (
        "encoder",
        "decoder",
        "embed",
        "stellar-tiny.encoder",
        "stellar-tiny.decoder",
        "stellar-tiny.embed",
    ):
        assert triton.is_model_ready(name)
        assert triton.is_model_ready(name, version)
        assert triton.get_model_metadata(name, version)["versions"] == [version]
    assert triton.get_model_metadata("decoder") == {
        "name": "decoder",
        "versions": [version],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "semantics", "datatype": "FP32", "shape": [-1, 16, 192]},
            {"name": "localization", "datatype": "FP32", "shape": [-1, 144, 16]},
        ],
        "outputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
    }


@pytest.mark.parametrize(
    ("name", "version"),
    [("resnet", ""), ("stellar-tiny", ""), ("other.encoder", ""), ("encoder", "1"), ("", "1")],
)
def test_unknown_models_and_versions_are_not_found(
    triton: InferenceServerClient, name: str, version: str
) -> None:
    assert not triton.is_model_ready(name, version)
    with pytest.raises(InferenceServerException) as caught:
        triton.get_model_metadata(name, version)
    assert caught.value.status() == "404"


@pytest.mark.parametrize("binary", [True, False])
def test_encoder_gives_the_tokens(
    server: Server, triton: InferenceServerClient, photo: bytes, other_photo: bytes, binary: bool
) -> None:
    batch = pixels(photo, other_photo)
    outputs = [InferRequestedOutput(name, binary_data=binary) for name in TOKENS]
    result = triton.infer("encoder", [tensor("image", batch, "UINT8", binary=binary)], outputs=outputs)
    for name, expected in tokens_of(server, batch).items():
        got = result.as_numpy(name)
        assert (got.shape, got.dtype) == (expected.shape, np.float32)
        np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize(("first", "second"), [(True, True), (True, False), (False, True), (False, False)])
def test_decoder_draws_tokens_however_they_travel(
    server: Server, triton: InferenceServerClient, photo: bytes, first: bool, second: bool
) -> None:
    """In any order, too: bytes follow each other as the inputs do."""
    tokens = tokens_of(server, pixels(photo))
    inputs = [
        tensor("localization", tokens["localization"], "FP32", binary=first),
        tensor("semantics", tokens["semantics"], "FP32", binary=second),
    ]
    drawn = triton.infer("stellar-tiny.decoder", inputs).as_numpy("image")
    expected = pixels_of(
        server.client.post(
            "/reconstruct", files={"image": encoded(Image.fromarray(pixels(photo)[0]))}
        ).content
    )
    assert (drawn.shape, drawn.dtype) == ((1, SIDE, SIDE, 3), np.uint8)
    assert np.abs(drawn[0].astype(int) - expected).max() <= 1


def test_embed_takes_encoded_images(
    server: Server, triton: InferenceServerClient, photo: bytes, other_photo: bytes
) -> None:
    """Of different lengths, as bytes or as base64 and data URIs in JSON."""
    expected = server.embedded(photo, other_photo)
    as_bytes = triton.infer("embed", [images(photo, other_photo)]).as_numpy("embedding")
    texts = [data_uri(photo).encode(), data_uri(other_photo).partition(",")[2].encode()]
    as_text = triton.infer("embed", [images(*texts, binary=False)]).as_numpy("embedding")
    np.testing.assert_allclose(as_bytes, expected, atol=1e-6)
    np.testing.assert_allclose(as_text, expected, atol=1e-6)


def test_parameters_are_the_options_of_embed(
    server: Server, triton: InferenceServerClient, photo: bytes
) -> None:
    parameters = {"pooling": "cls", "fit": "pad", "box": "0,0.1,0.5,1", "normalize": False}
    answer = triton.infer("embed", [images(photo)], parameters=parameters)
    assert answer.get_response()["parameters"] == {"pooling": "cls"}
    vectors = answer.as_numpy("embedding")
    options = {"pooling": "cls", "fit": "pad", "box": "0,0.1,0.5,1", "normalize": "false"}
    expected = server.embedded(photo, **options)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_only_the_outputs_that_were_asked_for_come_each_in_its_form(
    triton: InferenceServerClient, photo: bytes
) -> None:
    outputs = [InferRequestedOutput("cls", binary_data=False), InferRequestedOutput("semantics")]
    result = triton.infer("encoder", [tensor("image", pixels(photo), "UINT8")], outputs=outputs)
    cls, semantics = result.get_response()["outputs"]
    assert (cls["name"], len(cls["data"])) == ("cls", 192)
    assert (semantics["name"], semantics["parameters"]) == ("semantics", {"binary_data_size": 4 * 16 * 192})
    everything = triton.infer("encoder", [tensor("image", pixels(photo), "UINT8")])
    for name in ("cls", "semantics"):
        np.testing.assert_allclose(result.as_numpy(name), everything.as_numpy(name), atol=1e-5)


@pytest.mark.parametrize("there", [None, "gzip", "deflate"])
@pytest.mark.parametrize("back", [None, "gzip", "deflate"])
def test_requests_and_answers_may_be_compressed(
    server: Server, triton: InferenceServerClient, photo: bytes, there: str | None, back: str | None
) -> None:
    result = triton.infer(
        "embed",
        [images(photo)],
        request_compression_algorithm=there,
        response_compression_algorithm=back,
    )
    np.testing.assert_allclose(result.as_numpy("embedding"), server.embedded(photo), atol=1e-6)


def test_id_and_version_stand_in_the_answer(triton: InferenceServerClient, photo: bytes) -> None:
    (version,) = triton.get_model_metadata("embed")["versions"]
    result = triton.infer("embed", [images(photo)], model_version=version, request_id="mine")
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("mine", "embed", version)


def test_asynchronous_calls_share_batches(server: Server, photo: bytes) -> None:
    async def ask() -> list[InferResult]:
        async with tritonclient.http.aio.InferenceServerClient(server.url.removeprefix("http://")) as client:
            return await asyncio.gather(*(client.infer("embed", [images(photo)]) for _ in range(8)))

    expected = server.embedded(photo)
    for result in asyncio.run(ask()):
        np.testing.assert_allclose(result.as_numpy("embedding"), expected, atol=1e-5)


def refused(
    triton: InferenceServerClient, model: str, *inputs: InferInput, **options: Any
) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(model, list(inputs), **options)
    return caught.value.status(), caught.value.message()


def test_tensors_that_do_not_fit_are_told_what_was_expected(triton: InferenceServerClient) -> None:
    picture = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    sound = tensor("image", picture, "UINT8")
    for wrong in (picture.astype(np.float32), picture[0], picture[:, :90], picture[:0]):
        kind = "FP32" if wrong.dtype == np.float32 else "UINT8"
        status, message = refused(triton, "encoder", tensor("image", wrong, kind))
        assert status == "400"
        assert message == f"input image: expected UINT8 [-1, 96, 96, 3], got {kind} {list(wrong.shape)}."
    named = tensor("pixels", picture, "UINT8")
    assert refused(triton, "encoder", named) == ("400", "inputs: expected ['image'], got ['pixels'].")
    assert refused(triton, "encoder") == ("400", "inputs: expected ['image'], got [].")
    assert "got ['image', 'image']" in refused(triton, "encoder", sound, sound)[1]
    many = tensor("image", np.zeros((33, SIDE, SIDE, 3), np.uint8), "UINT8")
    assert refused(triton, "encoder", many) == ("400", "At most 32 images are taken in one request, got 33.")
    for output in ("mask", "cls"):
        outputs = [InferRequestedOutput(output), InferRequestedOutput("cls")]
        assert "outputs: expected some of" in refused(triton, "encoder", sound, outputs=outputs)[1]


def test_what_is_not_offered_is_refused(triton: InferenceServerClient) -> None:
    """Where Triton has more than the protocol: classes, shared memory, sequences."""
    sound = tensor("image", np.zeros((1, SIDE, SIDE, 3), np.uint8), "UINT8")
    shared = InferInput("image", [1, SIDE, SIDE, 3], "UINT8").set_shared_memory("region", SIDE * SIDE * 3)
    classes = [InferRequestedOutput("cls", class_count=3)]
    assert "outputs.0.parameters.classification" in refused(triton, "encoder", sound, outputs=classes)[1]
    assert "expected data" in refused(triton, "encoder", shared)[1]
    assert "sequence_id: there is no such option" in refused(triton, "encoder", sound, sequence_id=7)[1]
    assert (
        "pooling: there is no such option"
        in refused(triton, "encoder", sound, parameters={"pooling": "cls"})[1]
    )


def test_tokens_that_can_not_be_drawn_are_refused(triton: InferenceServerClient) -> None:
    def draw(semantics: float, localization: float, count: int = 1) -> tuple[str, str]:
        return refused(
            triton,
            "decoder",
            tensor("semantics", np.full((count, 16, 192), semantics, np.float32), "FP32"),
            tensor("localization", np.full((1, 144, 16), localization, np.float32), "FP32"),
        )

    assert draw(np.nan, 1) == ("400", "semantics: expected finite numbers.")
    assert draw(0, 0)[1].startswith("localization: expected no negative number and some mass")
    assert draw(0, 1, count=2)[1].startswith("inputs: expected the same first axis")


def test_one_bad_image_fails_its_request(triton: InferenceServerClient, photo: bytes) -> None:
    for bad, told in (
        (b"", "no bytes"),
        (b"hello", "no image in a known format"),
        (photo[:2000], "truncated"),
    ):
        status, message = refused(triton, "embed", images(photo, bad))
        assert status == "422"
        assert message.startswith("image 1: ")
        assert told in message


def test_timeout_is_counted_in_microseconds(triton: InferenceServerClient, photo: bytes) -> None:
    assert refused(triton, "embed", images(photo), timeout=1)[0] == "504"
    for enough in (0, 60_000_000):
        assert triton.infer("embed", [images(photo)], timeout=enough).as_numpy("embedding").shape == (1, 192)

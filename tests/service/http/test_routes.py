"""The three routes through the front door: every form of input and output."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load, save

from service.tokens.pictures import decode_image
from tests.service.photos import data_uri, plain, png_header
from tests.service.server import Server, running
from tests.service.toy import toy_version

SAFETENSORS = "application/vnd.safetensors"


def first(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    item: dict[str, Any] = response.json()["data"][0]
    return item


def pixels(response: httpx.Response) -> np.ndarray:
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(io.BytesIO(response.content)).convert("RGB")).astype(int)


def send(client: httpx.Client, form: str, photo: bytes) -> httpx.Response:
    if form == "multipart":
        return client.post("/embed", files={"image": photo})
    if form == "raw":
        return client.post("/embed", content=photo, headers={"content-type": "image/jpeg"})
    if form == "raw without a type":
        return client.post("/embed", content=photo)
    if form == "as curl --data-binary":
        kind = {"content-type": "application/x-www-form-urlencoded"}
        return client.post("/embed", content=photo, headers=kind)
    if form == "base64":
        return client.post("/embed", json={"image": base64.b64encode(photo).decode()})
    if form == "base64 form field":
        return client.post("/embed", files={"image": (None, data_uri(photo))})
    return client.post("/embed", json={"images": [data_uri(photo)]})


FORMS = [
    "multipart",
    "raw",
    "raw without a type",
    "as curl --data-binary",
    "base64",
    "base64 form field",
    "data URI",
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_input_gives_the_same_vector(client: httpx.Client, photo: bytes, form: str) -> None:
    expected = first(client.post("/embed", files={"image": photo}))["embedding"]
    assert first(send(client, form, photo))["embedding"] == expected


def test_vectors_have_unit_length_unless_told_otherwise(client: httpx.Client, photo: bytes) -> None:
    vector = np.array(first(client.post("/embed", files={"image": photo}))["embedding"])
    raw = np.array(first(client.post("/embed?normalize=false", files={"image": photo}))["embedding"])
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(raw) != pytest.approx(1, abs=1e-2)
    np.testing.assert_allclose(raw / np.linalg.norm(raw), vector, atol=1e-5)


def test_mean_pooling_is_the_mean_of_the_tokens(client: httpx.Client, photo: bytes) -> None:
    semantics = np.array(first(client.post("/tokens", files={"image": photo}))["semantics"])
    data = {"normalize": "false", "pooling": "mean"}
    mean = first(client.post("/embed", files={"image": photo}, data=data))["embedding"]
    np.testing.assert_allclose(mean, semantics.mean(axis=0), atol=1e-5)
    tokens = first(client.post("/embed", files={"image": photo}, data={"pooling": "tokens"}))["embedding"]
    unit = semantics / np.linalg.norm(semantics, axis=1, keepdims=True)
    np.testing.assert_allclose(tokens, unit, atol=1e-5)


def test_the_best_vector_comes_unless_told_otherwise_and_says_which_it_is(
    client: httpx.Client, photo: bytes
) -> None:
    model = client.get("/models").json()["models"][0]
    best = model["poolings"][0]
    assert best == model["statistics"]["default"] == "whitened"
    for accept in ("application/json", "application/x-npy"):
        answers = {
            pooling: client.post("/embed", files={"image": photo}, params=asked, headers={"accept": accept})
            for pooling, asked in {"": {}, **{name: {"pooling": name} for name in model["poolings"]}}.items()
        }
        assert answers[""].content == answers[best].content
        assert len({answer.content for answer in answers.values()}) == 5
        for name, answer in answers.items():
            assert answer.headers["x-stellar-pooling"] == (name or best)
            assert answer.headers["x-stellar-model"] == model["id"]
            assert accept != "application/json" or answer.json()["pooling"] == (name or best)


def test_concepts_are_the_tokens_less_what_is_always_the_same_of_their_number(
    client: httpx.Client, photo: bytes, other_photo: bytes
) -> None:
    one, other = (first(client.post("/tokens", files={"image": image})) for image in (photo, other_photo))
    means = [np.subtract(item["semantics"], item["concepts"]) for item in (one, other)]
    np.testing.assert_allclose(means[0], means[1], atol=1e-5)
    vectors = first(client.post("/embed?pooling=concepts&normalize=false", files={"image": photo}))
    np.testing.assert_allclose(vectors["embedding"], one["concepts"], atol=1e-6)


def test_a_bundle_without_statistics_answers_as_ever(toy_models: Path, tmp_path: Path) -> None:
    with running(tmp_path / "log", {}, "--models", str(toy_models)) as server:
        files = {"image": plain(0)}
        assert server.client.post("/embed", files=files).json()["pooling"] == "mean"
        assert "concepts" not in server.client.post("/tokens", files=files).json()["data"][0]
        model = server.client.get("/models").json()["models"][0]
        assert ("statistics" in model, model["poolings"]) == (False, ["mean", "cls", "tokens"])
        for pooling in ("whitened", "concepts"):
            refused = server.client.post("/embed", files=files, params={"pooling": pooling})
            assert (refused.status_code, refused.json()["code"]) == (400, "bad_option")
            assert refused.json()["detail"] == (
                f"pooling: toy@{toy_version()} has no statistics to make {pooling} of: calibrate it, "
                "by stellar-model calibrate, or ask for mean, cls, tokens."
            )


def test_base64_vectors_and_npy_equal_the_numbers(
    client: httpx.Client, photo: bytes, other_photo: bytes
) -> None:
    files = [("image", photo), ("image", other_photo)]
    plain = [item["embedding"] for item in client.post("/embed", files=files).json()["data"]]
    coded = client.post("/embed", files=files, data={"encoding_format": "base64"}).json()["data"]
    decoded = [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in coded]
    np.testing.assert_allclose(decoded, plain, rtol=1e-6)
    answer = client.post("/embed", files=files, headers={"accept": "application/x-npy"})
    np.testing.assert_allclose(np.load(io.BytesIO(answer.content)), plain, rtol=1e-6)


def test_tokens_tell_what_and_where(client: httpx.Client, photo: bytes) -> None:
    answer = client.post("/tokens", files={"image": photo})
    document, item = answer.json(), first(answer)
    height, width = document["grid"]
    semantics, localization = np.array(item["semantics"]), np.array(item["localization"])
    assert semantics.shape == (document["num_sparse_tokens"], document["width"])
    assert localization.shape == (height, width, document["num_sparse_tokens"])
    np.testing.assert_allclose(localization.sum(axis=2), 1, atol=1e-5)
    source = item["source"]
    assert (source["width"], source["height"]) == (451, 300)
    assert source["rectangle"] == [75.5, 0, 375.5, 300]
    assert answer.headers["x-stellar-model"] == document["model"]
    assert answer.headers["x-stellar-precision"] == "fp32"
    assert answer.headers["x-stellar-provider"] == "CPUExecutionProvider"


def test_heat_maps_come_as_pictures(client: httpx.Client, photo: bytes) -> None:
    answer = client.post("/tokens", files={"image": photo}, data={"heatmaps": "true"})
    maps = first(answer)["heatmaps"]
    assert len(maps["tokens"]) == answer.json()["num_sparse_tokens"]
    for coded in [maps["regions"], *maps["tokens"]]:
        assert Image.open(io.BytesIO(base64.b64decode(coded))).format == "PNG"
    sheet = client.post("/tokens", files={"image": photo}, headers={"accept": "image/png"})
    assert sheet.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(sheet.content)).width > 400


def test_tokens_sent_back_make_the_same_picture(client: httpx.Client, photo: bytes) -> None:
    direct = pixels(client.post("/reconstruct", files={"image": photo}))
    file = client.post("/tokens", files={"image": photo}, headers={"accept": SAFETENSORS}).content
    raw = client.post("/reconstruct", content=file, headers={"content-type": SAFETENSORS})
    multipart = client.post("/reconstruct", files={"tokens": file})
    item = first(client.post("/tokens", files={"image": photo}))
    as_json = client.post("/reconstruct", json={"tokens": item})
    coded = first(client.post("/tokens", files={"image": photo}, data={"encoding_format": "base64"}))
    as_base64 = client.post("/reconstruct", json={"tokens": coded})
    for answer in (raw, multipart, as_json, as_base64):
        assert np.abs(pixels(answer) - direct).max() <= 1


def test_safetensors_hold_all_images_and_say_where_they_come_from(
    client: httpx.Client, photo: bytes, other_photo: bytes
) -> None:
    files = [("image", photo), ("image", other_photo)]
    answer = client.post("/tokens", files=files, headers={"accept": SAFETENSORS})
    arrays = load(answer.content)
    assert {name: array.shape[0] for name, array in arrays.items()} == {
        "semantics": 2,
        "concepts": 2,
        "localization": 2,
        "cls": 2,
    }
    header = json.loads(answer.content[8 : 8 + int.from_bytes(answer.content[:8], "little")])
    assert json.loads(header["__metadata__"]["sources"])[0]["width"] == 451


def test_compact_tokens_are_a_quarter_and_make_the_same_picture_and_edits(
    client: httpx.Client, photo: bytes
) -> None:
    files = [("image", photo)] * 8  # one has more header than many
    full, compact = (
        client.post(f"/tokens?storage={storage}", files=files, headers={"accept": SAFETENSORS}).content
        for storage in ("full", "compact")
    )
    assert len(compact) < 0.28 * len(full)
    for edits in ([], [{"op": "drop", "token": 0}], [{"op": "keep", "tokens": [3, 5]}]):
        one, other = (
            client.post(
                "/reconstruct",
                files={"tokens": file},
                data={"edits": json.dumps(edits)},
                headers={"accept": "application/json"},
            )
            for file in (full, compact)
        )
        drawn = [
            np.asarray(Image.open(io.BytesIO(base64.b64decode(first(a)["image"]))), float)
            for a in (one, other)
        ]
        assert (
            np.sqrt(np.square(drawn[0] - drawn[1]).mean()) < 8
        )  # levels of 255, of which two tokens alone lose most


def test_compact_is_a_form_of_safetensors_alone(client: httpx.Client, photo: bytes) -> None:
    answer = client.post("/tokens?storage=compact", files={"image": photo})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_option")
    assert "accept application/vnd.safetensors" in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["image/png", "image/webp", "image/jpeg"])
def test_accept_picks_the_pictures_format(client: httpx.Client, photo: bytes, kind: str) -> None:
    answer = client.post("/reconstruct", files={"image": photo}, headers={"accept": f"{kind}, */*;q=0.1"})
    assert answer.headers["content-type"] == kind
    assert Image.open(io.BytesIO(answer.content)).format == kind.removeprefix("image/").upper()


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_picture_of_an_image_is_told_how_close_it_comes(client: httpx.Client, photo: bytes, fit: str) -> None:
    fields = {"fit": fit, "edits": json.dumps([{"op": "drop", "token": 1}])}
    answer = client.post("/reconstruct", files={"image": photo}, data=fields)
    drawn = pixels(answer)
    seen = decode_image(photo, drawn.shape[0], "pad" if fit == "pad" else "crop", 10**8).pixels
    want = 10 * np.log10(255**2 / np.mean((drawn - seen.astype(int)) ** 2))
    assert float(answer.headers["x-stellar-psnr-db"]) == pytest.approx(want, abs=0.006)
    accept = {"accept": "application/json"}
    item = first(client.post("/reconstruct", files={"image": photo}, data=fields, headers=accept))
    assert item["psnr_db"] == float(answer.headers["x-stellar-psnr-db"])


def test_box_is_of_the_images_and_not_of_donors(
    client: httpx.Client, photo: bytes, other_photo: bytes
) -> None:
    edits = json.dumps([{"op": "replace", "token": 1, "with": {"donor": 0, "token": 2}}])
    fields = {"box": "0.1,0.2,0.6,0.9"}
    answer = client.post(
        "/reconstruct", files=[("image", photo), ("donor", other_photo)], data=fields | {"edits": edits}
    )
    tokens = first(client.post("/tokens", files={"image": photo}, data=fields))
    donor = first(client.post("/tokens", files={"image": other_photo}))
    row = [{"op": "replace", "token": 1, "with": {"semantics": donor["semantics"][2]}}]
    want = client.post("/reconstruct", json={"tokens": tokens, "edits": row})
    assert np.abs(pixels(answer).astype(int) - pixels(want)).max() <= 1


def test_picture_of_tokens_is_compared_with_nothing(client: httpx.Client, photo: bytes) -> None:
    tokens = first(client.post("/tokens", files={"image": photo}))
    assert "x-stellar-psnr-db" not in client.post("/reconstruct", json={"tokens": tokens}).headers
    accept = {"accept": "application/json"}
    assert "psnr_db" not in first(client.post("/reconstruct", json={"tokens": tokens}, headers=accept))


def test_several_pictures_come_in_json(client: httpx.Client, photo: bytes, other_photo: bytes) -> None:
    files = [("image", photo), ("image", other_photo)]
    answer = client.post("/reconstruct", files=files, headers={"accept": "application/json"})
    items = answer.json()["data"]
    for item, single in zip(items, (photo, other_photo), strict=True):
        alone = client.post("/reconstruct", files={"image": single})
        assert base64.b64decode(item["image"]) == alone.content
    assert client.post("/reconstruct", files=files, headers={"accept": "image/png"}).status_code == 406
    assert client.post("/reconstruct", files=files).status_code == 200


def test_dropping_a_token_changes_its_region_most(client: httpx.Client, photo: bytes) -> None:
    localization = np.array(first(client.post("/tokens", files={"image": photo}))["localization"])
    largest = int(np.bincount(localization.argmax(2).ravel()).argmax())
    whole = pixels(client.post("/reconstruct", files={"image": photo}))
    edits = json.dumps([{"op": "drop", "token": largest}])
    edited = pixels(client.post("/reconstruct", files={"image": photo}, data={"edits": edits}))
    change = np.abs(edited - whole).mean(axis=2)
    patch = whole.shape[0] // localization.shape[0]
    inside = np.kron(localization.argmax(2) == largest, np.ones((patch, patch), bool))
    assert change[inside].mean() > change[~inside].mean()


def test_a_donors_token_shows_in_the_picture(client: httpx.Client, photo: bytes, other_photo: bytes) -> None:
    replace = [{"op": "replace", "token": k, "with": {"donor": 0, "token": k}} for k in range(16)]
    files = [("image", photo), ("donor", other_photo)]
    by_donor = client.post("/reconstruct", files=files, data={"edits": json.dumps(replace)})
    semantics = first(client.post("/tokens", files={"image": other_photo}))["semantics"]
    given = [{"op": "replace", "token": k, "with": {"semantics": semantics[k]}} for k in range(16)]
    by_numbers = client.post("/reconstruct", json={"image": data_uri(photo), "edits": given})
    assert np.abs(pixels(by_donor) - pixels(by_numbers)).max() <= 1
    plain = pixels(client.post("/reconstruct", files={"image": photo}))
    assert np.abs(pixels(by_donor) - plain).mean() > 1


def test_one_bad_image_in_eight_gives_seven_results_and_one_error(client: httpx.Client, photo: bytes) -> None:
    files = [("image", photo)] * 5 + [("image", photo[:2000])] + [("image", photo)] * 2
    for route, result in (("/embed", "embedding"), ("/tokens", "semantics"), ("/reconstruct", "image")):
        answer = client.post(route, files=files, headers={"accept": "application/json"})
        assert answer.status_code == 200
        items = answer.json()["data"]
        assert [item["index"] for item in items] == list(range(8))
        assert [result in item for item in items] == [i != 5 for i in range(8)]
        assert items[5]["error"]["code"] == "corrupt_image"
        assert items[5]["error"]["request_id"] == answer.headers["x-request-id"]


def test_refused_items_are_counted_as_refused_requests_are(server: Server, photo: bytes) -> None:
    refused = 'stellar_rejected_total{reason="unknown_image_format"}'
    before = server.metric(refused)
    files = [("image", photo), ("image", b"no image"), ("image", b"none either")]
    for route in ("/embed", "/tokens", "/reconstruct"):
        assert server.client.post(route, files=files).status_code == 200
    assert server.client.post("/embed", files={"image": b"no image"}).status_code == 422
    assert server.metric(refused) - before == 7


def test_a_form_without_room_for_errors_raises_the_first(client: httpx.Client, photo: bytes) -> None:
    files = [("image", photo), ("image", b"no image")]
    answer = client.post("/embed", files=files, headers={"accept": "application/x-npy"})
    assert answer.status_code == 422
    assert answer.json()["code"] == "unknown_image_format"
    assert answer.json()["detail"].startswith("image 1:")


def test_version_can_be_named(client: httpx.Client, photo: bytes) -> None:
    model = client.get("/models").json()["models"][0]["id"]
    answer = client.post(f"/embed?model={model}", files={"image": photo})
    assert answer.json()["model"] == model


PHOTO = object()
BAD_REQUESTS: list[tuple[str, dict[str, Any], int, str, str]] = [
    ("/embed", {"content": b""}, 400, "no_image", "multipart file named image"),
    (
        "/embed",
        {"content": b"[", "headers": {"content-type": "application/json"}},
        400,
        "bad_request",
        "JSON",
    ),
    ("/embed", {"json": [1]}, 400, "bad_request", "expected an object"),
    ("/embed", {"json": {"image": "https://example.org/cat.jpg"}}, 400, "remote_image", "not fetched"),
    ("/embed", {"json": {"image": "%%%"}}, 422, "corrupt_image", "base64"),
    ("/embed", {"json": {"image": 3}}, 422, "corrupt_image", "base64 string"),
    ("/embed", {"json": {"image": ""}}, 422, "empty_image", "no bytes"),
    ("/embed", {"files": {"image": b"hello"}}, 422, "unknown_image_format", "JPEG, PNG"),
    (
        "/embed",
        {"content": b"x", "headers": {"content-type": "text/html"}},
        415,
        "unsupported_media_type",
        "text/html",
    ),
    ("/embed", {"files": {"photo": b"x"}}, 400, "bad_request", "no file field 'photo'"),
    ("/embed", {"files": {"image": png_header(10_000, 6_000)}}, 422, "too_many_pixels", "at most 50000000"),
    ("/embed?model=stellar-tiny@ffffffffffff", {"files": {"image": PHOTO}}, 404, "unknown_model", "there is"),
    ("/embed?pooling=max", {"files": {"image": PHOTO}}, 400, "bad_option", "pooling"),
    ("/embed?colour=red", {"files": {"image": PHOTO}}, 400, "bad_option", "no such option"),
    ("/embed?model=dall-e", {"files": {"image": PHOTO}}, 404, "unknown_model", "there is stellar-tiny@"),
    ("/embed", {"files": {"image": PHOTO}, "headers": {"accept": "text/csv"}}, 406, "not_acceptable", "npy"),
    ("/embed", {"files": [("image", PHOTO)] * 33}, 400, "too_many_images", "At most 32"),
    ("/embed", {"files": {"image": PHOTO, "donor": PHOTO}}, 400, "bad_request", "/reconstruct only"),
    ("/tokens", {"files": {"tokens": b"x"}}, 400, "bad_request", "/reconstruct only"),
    ("/reconstruct", {"files": {"image": PHOTO}, "data": {"edits": "["}}, 400, "bad_edit", "no valid JSON"),
    (
        "/reconstruct",
        {"files": {"image": PHOTO}, "data": {"edits": '[{"op":"drop","token":99}]'}},
        400,
        "bad_edit",
        "tokens 0 to 15, got 99",
    ),
    ("/reconstruct", {"files": {"tokens": b"x"}}, 400, "bad_tokens", "no safetensors file"),
    ("/reconstruct", {"json": {"tokens": {"semantics": [1]}}}, 400, "bad_tokens", "localization expected"),
    ("/reconstruct?quality=0", {"files": {"image": PHOTO}}, 400, "bad_option", "quality"),
]


@pytest.mark.parametrize(("route", "request_", "status", "code", "detail"), BAD_REQUESTS)
def test_bad_requests_are_told_what_is_wrong(
    client: httpx.Client,
    photo: bytes,
    route: str,
    request_: dict[str, Any],
    status: int,
    code: str,
    detail: str,
) -> None:
    def filled(value: Any) -> Any:
        return photo if value is PHOTO else value

    arguments = dict(request_)
    files = arguments.get("files")
    if isinstance(files, dict):
        arguments["files"] = {name: filled(value) for name, value in files.items()}
    elif files:
        arguments["files"] = [(name, filled(value)) for name, value in files]
    answer = client.post(route, **arguments)
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] == code
    assert detail in problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]


def test_tokens_of_another_shape_are_refused(client: httpx.Client) -> None:
    arrays = {"semantics": np.zeros((16, 5), np.float32), "localization": np.ones((1, 16), np.float32)}
    answer = client.post("/reconstruct", files={"tokens": save(arrays)})
    assert answer.json()["code"] == "bad_tokens"
    assert "semantics: expected 16 × 192 numbers" in answer.json()["detail"]

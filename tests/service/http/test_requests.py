"""What callers send, sound and unsound: options in three places, odd bodies, tokens in every form."""

from __future__ import annotations

import base64
import gzip
import json
import random
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from service.errors import BadTokens, ServiceError, TooManyImages
from service.http.documents import PIECE_BYTES
from service.http.tokens import read_tokens
from service.runtime.bundle import Manifest, read_bundle
from service.tokens.token_file import compact
from tests.service.toy import write_toy

SOURCE = np.random.default_rng(0)
S = SOURCE.normal(size=(2, 3, 4)).astype(np.float32)
L = SOURCE.dirichlet([1, 1, 1], (2, 4)).astype(np.float32)
JSON_TYPE = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def manifest(toy_models: Path) -> Manifest:
    return read_bundle(toy_models / "toy").manifest


def coded(array: Any) -> str:
    return base64.b64encode(np.asarray(array, "<f4").tobytes()).decode()


@pytest.mark.parametrize(
    "tokens",
    [
        save({"semantics": S, "localization": L}),
        save({"semantics": S, "localization": L.reshape(2, 2, 2, 3), "cls": np.zeros((2, 4), np.float32)}),
        save({"semantics": S.astype(np.float64), "localization": L.astype(np.float64)}),
        {"semantics": S.tolist(), "localization": L.reshape(2, 2, 2, 3).tolist()},
        {"semantics": coded(S), "localization": coded(L), "source": {}},
        {"semantics": coded(S), "localization": coded(L), "grid": [2, 2]},
        {"semantics": coded(S), "localization": coded(L), "grid": None},
        # In a file the shape tells it, and what else is there is left alone.
        save({"semantics": S, "localization": L.reshape(2, 2, 2, 3), "grid": np.array([1, 4])}),
    ],
)
def test_tokens_are_read_from_every_form(manifest: Manifest, tokens: Any) -> None:
    pairs = read_tokens(tokens, manifest, 2)
    np.testing.assert_allclose([pair[0] for pair in pairs], S, atol=1e-6)
    np.testing.assert_allclose([pair[1] for pair in pairs], L, atol=1e-6)


def test_rows_of_sent_localizations_are_made_to_sum_to_1(manifest: Manifest) -> None:
    ((_, places),) = read_tokens(
        {"semantics": S[0].tolist(), "localization": (L[0] * 7).tolist()}, manifest, 1
    )
    np.testing.assert_allclose(places, L[0], atol=1e-6)


def test_rows_may_hold_the_largest_numbers(manifest: Manifest) -> None:
    largest = np.full((4, 3), 3e38).tolist()
    ((_, places),) = read_tokens({"semantics": S[0].tolist(), "localization": largest}, manifest, 1)
    np.testing.assert_allclose(places, 1 / 3, atol=1e-6)


def test_more_token_sets_than_allowed_are_refused(manifest: Manifest) -> None:
    with pytest.raises(TooManyImages):
        read_tokens({"semantics": S.tolist(), "localization": L.tolist()}, manifest, 1)


@pytest.mark.parametrize("write", [save, lambda arrays: {k: v.tolist() for k, v in arrays.items()}])
def test_tokens_of_a_picture_that_lies_on_its_side_are_refused(tmp_path: Path, write: Any) -> None:
    """They are as many numbers."""
    tall = read_bundle(write_toy(tmp_path / "tall", patches=(3, 2))).manifest
    wide = write({"semantics": S[0], "localization": np.ones((2, 3, 3), np.float32)})
    with pytest.raises(BadTokens) as caught:
        read_tokens(wide, tall, 1)
    expected = "the grid [3, 2], rows and columns of patches"
    assert caught.value.detail == f"localization: expected {expected}, got [2, 3]."


@pytest.mark.parametrize("grid", [[2, 3], [6, 1], [3], [], 6, "3x2", {"rows": 3}, [[3, 2]], True])
@pytest.mark.parametrize("write", [coded, lambda array: array.reshape(3, 2, 3).tolist()])
def test_grids_that_are_not_the_model_s_are_refused(tmp_path: Path, write: Any, grid: Any) -> None:
    """Even beside lists in the model's own shape: one of the two is wrong."""
    tall = read_bundle(write_toy(tmp_path / "tall", patches=(3, 2))).manifest
    tokens = {"semantics": S[0].tolist(), "localization": write(np.ones((6, 3)))}
    with pytest.raises(BadTokens) as caught:
        read_tokens(tokens | {"grid": grid}, tall, 1)
    expected = "the grid [3, 2], rows and columns of patches"
    assert caught.value.detail == f"grid: expected {expected}, got {grid!r}."
    assert len(read_tokens(tokens | {"grid": [3, 2]}, tall, 1)) == 1


ONES = np.ones((4, 3))


@pytest.mark.parametrize(
    ("semantics", "localization", "message"),
    [
        (S[0].tolist(), None, "localization expected, got ['semantics']"),
        ([[1, 2]], ONES.tolist(), "semantics: expected 3 × 4 numbers an image, got 2."),
        ([], ONES.tolist(), "semantics: expected 3 × 4 numbers an image, got 0."),
        ([[1, 2], [3]], ONES.tolist(), "semantics: expected numbers"),
        ("%%%", ONES.tolist(), "semantics: expected numbers"),
        ("AAA=", ONES.tolist(), "semantics: expected numbers"),
        ([["one"] * 4] * 3, ONES.tolist(), "semantics: expected numbers"),
        ({"a": 1}, ONES.tolist(), "semantics: expected numbers"),
        ([[float("nan")] * 4] * 3, ONES.tolist(), "semantics: expected finite numbers."),
        ([[1e300] * 4] * 3, ONES.tolist(), "semantics: expected finite numbers."),
        ([[-1e30] * 4] * 3, ONES.tolist(), "semantics: expected numbers of at most 65504, got 1e+30."),
        ([[10**400] * 4] * 3, ONES.tolist(), "semantics: expected numbers"),
        (S.tolist(), ONES.tolist(), "2 semantics for 1 localizations."),
        (S[0].tolist(), (ONES - 2).tolist(), "expected no negative number and some mass in every row."),
        (S[0].tolist(), (ONES * 0).tolist(), "expected no negative number and some mass in every row."),
    ],
)
def test_tokens_that_do_not_fit_are_named(
    manifest: Manifest, semantics: Any, localization: Any, message: str
) -> None:
    with pytest.raises(BadTokens) as caught:
        read_tokens({"semantics": semantics, "localization": localization}, manifest, 2)
    assert message in caught.value.detail


def compact_file(**changes: Any) -> bytes:
    arrays = {"semantics": S, "localization": L.reshape(2, 2, 2, 3), "cls": np.zeros((2, 4), np.float32)}
    return save(compact(arrays) | changes)


def test_compact_tokens_are_read_as_full_ones(manifest: Manifest) -> None:
    pairs = read_tokens(compact_file(), manifest, 2)
    np.testing.assert_allclose([pair[0] for pair in pairs], S, atol=0.02)
    np.testing.assert_allclose([pair[1] for pair in pairs], L, atol=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"semantics.scale": np.full((2, 3), np.inf, np.float32)}, "semantics: expected finite numbers."),
        ({"semantics.scale": np.zeros((2, 4), np.float32)}, "semantics: expected int8 and a float32 scale"),
        ({"localization": np.zeros((2, 2, 2, 3), np.uint8)}, "some mass in every row."),
        ({"localization": np.ones((2, 2, 2, 3), np.float16)}, "expected uint8 in the compact form"),
        ({"localization": np.ones((), np.uint8)}, "localization: expected shares of tokens"),
        ({"localization": np.ones(0, np.uint8)}, "expected 4 × 3 numbers an image, got 0."),
        ({"localization": np.ones(2**20, np.uint8)}, "what the most images of this model take"),
        ({"semantics": np.ones((), np.int8)}, "semantics: expected int8 and a float32 scale"),
        ({str(i): np.ones(0, np.int8) for i in range(5000)}, "what the most images of this model take"),
        ({"localization": np.ones((1, 2, 2, 3), np.uint8)}, "2 semantics for 1 localizations."),
        ({"localization": np.ones((2, 2, 2, 2), np.uint8)}, "expected 4 × 3 numbers an image, got 16."),
    ],
)
def test_unsound_compact_tokens_are_named(manifest: Manifest, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadTokens) as caught:
        read_tokens(compact_file(**changes), manifest, 2)
    assert message in caught.value.detail


@pytest.mark.parametrize("form", ["full", "compact"])
@pytest.mark.filterwarnings("ignore")  # damaged numbers overflow
def test_damaged_safetensors_give_tokens_or_the_service_s_errors(manifest: Manifest, form: str) -> None:
    source = random.Random(3)
    sound = save({"semantics": S, "localization": L}) if form == "full" else compact_file()
    types = [b"F64", b"F16", b"I64", b"I8", b"U8", b"BF1", b"F8_", b"C64"]
    refused = 0
    for i in range(1000):
        data = bytearray(sound)
        for _ in range(source.randint(1, 4)):
            data[source.randrange(min(len(data), 250))] = source.randrange(256)
        data = data.replace(b"F32", source.choice(types)) if i % 4 == 0 else data
        try:
            read_tokens(bytes(data[: source.choice((len(data), 100))]), manifest, 2)
        except ServiceError:
            refused += 1
    assert refused > 500


def test_options_stand_in_the_query_the_form_or_the_json(client: httpx.Client, photo: bytes) -> None:
    image = base64.b64encode(photo).decode()
    answers = [
        client.post("/tokens?fit=pad&encoding_format=base64", files={"image": photo}),
        client.post("/tokens", files={"image": photo}, data={"fit": "pad", "encoding_format": "base64"}),
        client.post("/tokens", json={"image": image, "fit": "pad", "encoding_format": "base64"}),
        client.post("/tokens?fit=pad", json={"image": image, "encoding_format": "base64"}),
        client.post("/tokens?fit=pad&encoding_format=base64", content=photo),
    ]
    first, *others = [answer.json()["data"] for answer in answers]
    assert first[0]["source"]["rectangle"] == [0, -75.5, 451, 375.5]
    assert all(other == first for other in others)


def test_box_stands_in_the_query_the_form_or_the_json(client: httpx.Client, photo: bytes) -> None:
    image = base64.b64encode(photo).decode()
    answers = [
        client.post("/tokens?box=0.2,0,0.6,1&fit=stretch", content=photo),
        client.post("/tokens", files={"image": photo}, data={"box": "0.2, 0, .6, 1.0", "fit": "stretch"}),
        client.post("/tokens", json={"image": image, "box": [0.2, 0, 0.6, 1], "fit": "stretch"}),
        client.post("/tokens", json={"image": image, "box": "0.2,0,0.6,1", "fit": "stretch"}),
    ]
    first, *others = [answer.json()["data"] for answer in answers]
    source = {"width": 451, "height": 300, "rectangle": [90, 0, 271, 300], "box": [90, 0, 271, 300]}
    assert first[0]["source"] == source
    assert all(other == first for other in others)
    assert client.post("/tokens", content=photo).json()["data"][0]["source"]["box"] == [0, 0, 451, 300]


FOUR, SHARES = (
    "expected left,top,right,bottom, such as 0.1,0,0.6,1",
    "expected shares of the picture from 0 to 1, left < right and top < bottom",
)


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ("", FOUR),
        ("0,0,1", FOUR),
        ("0,0,1,1,1", FOUR),
        ("0,0,1,x", FOUR),
        ([0, 0, 1], FOUR),
        ([0, 0, True, 1], FOUR),
        ([0, 0, [1], 1], FOUR),
        ({"left": 0}, FOUR),
        (1, FOUR),
        ("0.5,0,0.5,1", SHARES),
        ("0,0.6,1,0.5", SHARES),
        ("-0.1,0,1,1", SHARES),
        ([0, 0, 100, 100], SHARES),
        ("0,0,nan,1", SHARES),
    ],
)
def test_box_that_is_none_is_told_in_a_sentence(
    client: httpx.Client, photo: bytes, box: Any, why: str
) -> None:
    image = base64.b64encode(photo).decode()
    problem = client.post("/embed", json={"image": image, "box": box}).json()
    assert problem["code"] == "bad_option"
    assert problem["detail"].startswith(f"box: {why}, got ")


@pytest.mark.parametrize("size", [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES])
@pytest.mark.parametrize("step", [1, 700, 10**6])
def test_compressed_bodies_are_whole_in_whatever_pieces_they_come(
    client: httpx.Client, photo: bytes, size: int, step: int
) -> None:
    """What stands behind a JPEG's end is no part of the picture."""
    body = photo + bytes(size - len(photo))
    packed = gzip.compress(body)
    pieces = (packed[at : at + step] for at in range(0, len(packed), step))
    headers = {"content-type": "image/jpeg", "content-encoding": "gzip"}
    want = client.post("/embed", content=body, headers={"content-type": "image/jpeg"})
    got = client.post("/embed", content=pieces, headers=headers)
    assert got.status_code == 200, got.text
    assert got.json()["data"] == want.json()["data"]


def test_edits_stand_in_the_query_the_form_or_the_json(client: httpx.Client, photo: bytes) -> None:
    edits = [{"op": "drop", "token": 3}, {"op": "swap", "tokens": [1, 2]}]
    text, image = json.dumps(edits), base64.b64encode(photo).decode()
    pictures = {
        client.post("/reconstruct", params={"edits": text}, content=photo).content,
        client.post("/reconstruct", files={"image": photo}, data={"edits": text}).content,
        client.post("/reconstruct", json={"image": image, "edits": edits}).content,
        client.post("/reconstruct", json={"image": image, "edits": text}).content,
    }
    assert len(pictures) == 1


FORM = {"content-type": "multipart/form-data; boundary=b"}
PART = b'--b\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n'


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"content-type": "multipart/form-data"}, b"x", 400, "bad_request"),
        (FORM, b"no parts at all", 400, "bad_request"),
        (FORM, b"--c\r\n\r\n", 400, "bad_request"),
        (FORM, b"--b\r\nno header\r\n\r\nx\r\n--b--\r\n", 400, "bad_request"),
        (FORM, b"--b\r\ncontent-disposition: form-data\r\n\r\nx\r\n--b--\r\n", 400, "bad_request"),
        (FORM, PART + b"\r\n--b--\r\n", 422, "empty_image"),
        (FORM, b"--b--\r\n", 400, "no_image"),
        (FORM, PART.replace(b"name=", b";" * 40 + b"name=") + b"x\r\n--b--\r\n", 400, "bad_request"),
        ({"content-type": "multipart/form-data; boundary=b" + ";" * 40}, b"--b--\r\n", 400, "bad_request"),
        (
            FORM,
            PART.replace(b"\r\n\r\n", b"\r\ncontent-disposition: a\r\n\r\n") + b"x\r\n--b--\r\n",
            422,
            "unknown_image_format",
        ),
        (FORM, b"", 400, "no_image"),
        ({"content-type": "image/png"}, b"", 400, "no_image"),
        ({"content-type": "application/octet-stream"}, b"x", 422, "unknown_image_format"),
        ({"content-type": "IMAGE/PNG; a=b"}, b"x", 422, "unknown_image_format"),
        ({"content-type": "application/xml"}, b"<a/>", 415, "unsupported_media_type"),
        ({"content-type": "nonsense"}, b"x", 415, "unsupported_media_type"),
        (JSON_TYPE, b"", 400, "bad_request"),
        (JSON_TYPE, b"\xff\xfe{}", 400, "bad_request"),
        (JSON_TYPE, b"[" * 100_000, 400, "bad_request"),
        (JSON_TYPE, b'{"image": ' + b"[" * 100_000, 400, "bad_request"),
        (JSON_TYPE, b"{}", 400, "no_image"),
        (JSON_TYPE, b'{"images": []}', 400, "no_image"),
        (JSON_TYPE, b'{"image": "data:image/png,abc"}', 422, "corrupt_image"),
        (JSON_TYPE, b'{"image": "data:image/png;base64,"}', 422, "empty_image"),
        (JSON_TYPE, b'{"image": null}', 400, "no_image"),
        (JSON_TYPE, b'{"image": [["AAAA"]]}', 422, "corrupt_image"),
        (JSON_TYPE, b'{"image": "\\u00e9"}', 422, "corrupt_image"),
        (JSON_TYPE, b'{"image": "AAAA", "\\ud800": 1}', 400, "bad_request"),
        (JSON_TYPE, b'{"image": "AAAA", "fit": "\\ud800"}', 400, "bad_request"),
        (JSON_TYPE, b'{"image": "AAAA", "model": "\\ud800"}', 400, "bad_request"),
        (JSON_TYPE, b'{"image": "AAAA", "model": "toy@0"}', 404, "unknown_model"),
        (JSON_TYPE, b'\xef\xbb\xbf{"image": "AAAA"}', 422, "unknown_image_format"),
        (JSON_TYPE, '{"image": "AAAA"}'.encode("utf-16"), 400, "bad_request"),
        (JSON_TYPE, b'{"image": NaN}', 400, "bad_request"),
        (
            FORM,
            PART.replace(b"image", b"fit").replace(b'; filename="a"', b"") + b"\xe9\r\n--b--\r\n",
            400,
            "bad_request",
        ),
        (
            FORM,
            PART.replace(b"image", b"fit").replace(b'; filename="a"', b"")
            + b"x" * (2**20 + 1)
            + b"\r\n--b--\r\n",
            400,
            "bad_request",
        ),
        (FORM, b"--b\r\n" + b"a: b\r\n" * 20 + PART[5:] + b"x\r\n--b--\r\n", 400, "bad_request"),
        (
            FORM,
            PART.replace(b"name=", b"a=" + b"x" * 5000 + b"; name=") + b"x\r\n--b--\r\n",
            400,
            "bad_request",
        ),
        (JSON_TYPE, b'{"image": "AAAA", "normalize": {"a": [1]}}', 400, "bad_option"),
        (JSON_TYPE, b'{"image": ["file:///etc/passwd"]}', 422, "corrupt_image"),
        (JSON_TYPE, b'{"image": "http://127.0.0.1/"}', 400, "remote_image"),
        (JSON_TYPE, b'{"inputs": "a cat"}', 400, "text_input"),
        (JSON_TYPE, b'{"input": ["a cat"]}', 400, "text_input"),
        (JSON_TYPE, b'{"text": "a cat"}', 400, "text_input"),
    ],
)
def test_odd_bodies_are_refused_with_a_reason(
    client: httpx.Client, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    answer = client.post("/embed", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"edits": [{"op": "drop", "token": 0, "\ud800": 1}]}, "bad_request"),
        ({"edits": {"op": "drop"}}, "bad_edit"),
        ({"edits": "[" * 100_000}, "bad_edit"),
        ({"tokens": {"\ud800": 1}}, "bad_request"),
        ({"tokens": 3}, "bad_tokens"),
        ({"tokens": "AAAA"}, "bad_tokens"),
        ({"quality": 101}, "bad_option"),
        ({"quality": "high"}, "bad_option"),
        ({"donors": ["AAAA"] * 33}, "too_many_images"),
        ({"donors": ["AAAA"]}, "unknown_image_format"),
        ({"donors": ["https://example.org/cat.jpg"]}, "remote_image"),
    ],
)
def test_odd_fields_of_reconstruct_are_refused(
    client: httpx.Client, photo: bytes, fields: dict[str, Any], code: str
) -> None:
    document = {"image": base64.b64encode(photo).decode()} | fields
    answer = client.post("/reconstruct", content=json.dumps(document), headers=JSON_TYPE)
    assert answer.json()["code"] == code, answer.text
    assert 400 <= answer.status_code < 500


def test_images_and_tokens_do_not_go_together(client: httpx.Client, photo: bytes) -> None:
    file = client.post(
        "/tokens", files={"image": photo}, headers={"accept": "application/vnd.safetensors"}
    ).content
    answer = client.post("/reconstruct", files={"image": photo, "tokens": file})
    assert answer.json()["code"] == "bad_tokens"
    assert "not both" in answer.json()["detail"]

"""What clients really send: each kind, what it got before, and what it gets now."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest

from tests.service.fleet.load import picture
from tests.service.server import Server, running

JSON_TYPE = {"content-type": "application/json"}


class Kind(NamedTuple):
    """A request, by what makes it of a photo."""

    name: str
    before: str
    path: str
    headers: dict[str, str]
    body: Any
    """Bytes of the body, made of a photo's."""


def form(photo: bytes, head: str, *, end: bytes = b"--b--\r\n") -> bytes:
    return b"--b\r\n" + head.encode() + b"\r\n\r\n" + photo + b"\r\n" + end


def text_of(photo: bytes) -> str:
    return base64.b64encode(photo).decode()


def document(photo: bytes, **more: Any) -> bytes:
    return json.dumps({"image": text_of(photo)} | more).encode()


def openai(photo: bytes, **more: Any) -> bytes:
    return json.dumps(
        {"input": "data:image/jpeg;base64," + text_of(photo), "model": "stellar-tiny"} | more
    ).encode()


FORM = {"content-type": "multipart/form-data; boundary=b"}
FILE = 'content-disposition: form-data; name="image"'

READ = (
    Kind(
        "null for options of ours",
        "400",
        "/embed",
        JSON_TYPE,
        lambda p: document(p, fit=None, pooling=None, normalize=None),
    ),
    Kind("null for the model", "400", "/embed", JSON_TYPE, lambda p: document(p, model=None)),
    Kind(
        "LiteLLM 1.82: encoding_format null",
        "400",
        "/v1/embeddings",
        JSON_TYPE,
        lambda p: openai(p, encoding_format=None),
    ),
    Kind(
        "null for all of /v1",
        "400",
        "/v1/embeddings",
        JSON_TYPE,
        lambda p: openai(p, dimensions=None, user=None, modality=None, pooling=None, fit=None),
    ),
    Kind(
        "Infinity's client: dimensions 0",
        "400",
        "/v1/embeddings",
        JSON_TYPE,
        lambda p: openai(p, dimensions=0, modality="image"),
    ),
    Kind(
        "a part with an image type and no file name",
        "422",
        "/embed",
        FORM,
        lambda p: form(p, FILE + "\r\ncontent-type: image/jpeg"),
    ),
    Kind("base64 in a field", "200", "/embed", FORM, lambda p: form(text_of(p).encode(), FILE)),
    Kind(
        "base64 of over 1 MB in a field",
        "400",
        "/embed",
        FORM,
        lambda p: form(text_of(p + bytes(2**20)).encode(), FILE),
    ),
    Kind(
        "base64 with line breaks",
        "422",
        "/embed",
        JSON_TYPE,
        lambda p: json.dumps({"image": base64.encodebytes(p).decode()}).encode(),
    ),
    Kind(
        "base64 without padding",
        "422",
        "/embed",
        JSON_TYPE,
        lambda p: json.dumps({"image": text_of(p + b"0" * ((2 - len(p)) % 3)).rstrip("=")}).encode(),
    ),
    Kind(
        "URL-safe base64",
        "422",
        "/embed",
        JSON_TYPE,
        lambda p: json.dumps({"image": base64.urlsafe_b64encode(p).decode()}).encode(),
    ),
    Kind(
        "DATA: in capitals",
        "422",
        "/embed",
        JSON_TYPE,
        lambda p: json.dumps({"image": "DATA:IMAGE/JPEG;BASE64," + text_of(p)}).encode(),
    ),
    Kind(
        "a picture in gzip",
        "422",
        "/embed",
        {"content-type": "image/jpeg", "content-encoding": "gzip"},
        gzip.compress,
    ),
    Kind(
        "JSON in deflate",
        "400",
        "/embed",
        JSON_TYPE | {"content-encoding": "deflate"},
        lambda p: zlib.compress(document(p)),
    ),
    Kind(
        "a form in gzip",
        "400",
        "/embed",
        FORM | {"content-encoding": "x-gzip"},
        lambda p: gzip.compress(form(p, FILE + '; filename="a"')),
    ),
    Kind(
        "a body that says it is none",
        "200",
        "/embed",
        {"content-type": "image/jpeg", "content-encoding": "identity"},
        bytes,
    ),
)


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.name)
def test_what_clients_send_is_read(client: httpx.Client, photo: bytes, kind: Kind) -> None:
    [want] = client.post("/embed", content=photo, headers={"content-type": "image/jpeg"}).json()["data"]
    answer = client.post(kind.path, content=kind.body(photo), headers=kind.headers)
    assert answer.status_code == 200, answer.text
    [got] = answer.json()["data"]
    np.testing.assert_allclose(got["embedding"], want["embedding"], atol=1e-6)


class Refusal(NamedTuple):
    """A request that can't be read, and what it is told."""

    name: str
    before: str
    headers: dict[str, str]
    body: Any
    status: int
    code: str
    told: str


REFUSED = (
    Refusal(
        "a form without its last boundary",
        "200 without the last picture",
        FORM,
        lambda p: form(p, FILE + '; filename="a"')[: -len(b"--b--\r\n")],
        400,
        "incomplete_form",
        "--BOUNDARY--",
    ),
    Refusal(
        "a form that is cut in a picture",
        "200",
        FORM,
        lambda p: form(p, FILE + '; filename="a"')[:5000],
        400,
        "incomplete_form",
        "send it whole",
    ),
    Refusal(
        "a wrong character in base64",
        "no valid base64",
        JSON_TYPE,
        lambda p: document(p).replace(b"/9j/", b"/9j*"),
        422,
        "corrupt_image",
        "character 4 is * (U+002A)",
    ),
    Refusal(
        "a character short",
        "no valid base64",
        JSON_TYPE,
        lambda _: b'{"image": "AAAAA"}',
        422,
        "corrupt_image",
        "last character is missing",
    ),
    Refusal(
        "curl -d without a type",
        "422",
        {"content-type": "application/x-www-form-urlencoded"},
        document,
        415,
        "unsupported_media_type",
        "content-type: application/json",
    ),
    Refusal(
        "an encoding that is not read",
        "422",
        {"content-type": "image/jpeg", "content-encoding": "br"},
        bytes,
        415,
        "unsupported_encoding",
        "gzip or deflate",
    ),
    Refusal(
        "gzip that is none",
        "422",
        {"content-type": "image/jpeg", "content-encoding": "gzip"},
        bytes,
        400,
        "bad_request",
        "no valid gzip",
    ),
    Refusal(
        "gzip that is cut",
        "422",
        {"content-type": "image/jpeg", "content-encoding": "gzip"},
        lambda p: gzip.compress(p)[:-9],
        400,
        "bad_request",
        "cut short",
    ),
    Refusal(
        "gzip beyond the limit",
        "422",
        {"content-type": "image/jpeg", "content-encoding": "gzip"},
        lambda _: gzip.compress(bytes(65 * 2**20)),
        413,
        "body_too_large",
        "decompressed too",
    ),
)


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.name)
def test_what_cannot_be_read_says_what_to_do(client: httpx.Client, photo: bytes, kind: Refusal) -> None:
    answer = client.post("/embed", content=kind.body(photo), headers=kind.headers)
    assert (answer.status_code, answer.json()["code"]) == (kind.status, kind.code), answer.text
    assert kind.told in answer.json()["detail"].lower() or kind.told in answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/models",
        "/metrics",
        "/healthz/live",
        "/healthz/ready",
        "/v1/models",
        "/v2",
        "/v2/health/live",
        "/openapi.json",
    ],
)
def test_head_is_answered_like_get_without_its_content(client: httpx.Client, path: str) -> None:
    get, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize(
    ("method", "path", "allowed", "told"),
    [
        ("GET", "/embed", {"POST"}, "GET is not taken at /embed: send POST"),
        ("HEAD", "/embed", {"POST"}, ""),
        ("POST", "/models", {"GET", "HEAD"}, "POST is not taken at /models: send GET, HEAD"),
        ("DELETE", "/v2/models/encoder", {"GET", "HEAD"}, "send GET, HEAD"),
        ("GET", "/v1/embeddings", {"POST"}, "GET is not taken at /v1/embeddings: send POST"),
        ("POST", "/", {"GET", "HEAD"}, "send pictures to /embed"),
    ],
)
def test_wrong_methods_are_told_the_right_one(
    client: httpx.Client, method: str, path: str, allowed: set[str], told: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, allowed)
    assert told in answer.text


def test_one_model_is_found_below_v1(client: httpx.Client) -> None:
    answer = client.get("/models/stellar-tiny")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "/v1/models/NAME" in answer.json()["detail"]


def test_form_to_v1_is_told_that_json_is_meant(client: httpx.Client, photo: bytes) -> None:
    answer = client.post("/v1/embeddings", files={"input": photo})
    assert answer.status_code == 400
    assert "no form or picture itself" in answer.json()["error"]["message"]


NULLS = {"parameters": None, "outputs": None, "id": None}


@pytest.mark.parametrize(
    ("path", "nulls"),
    [
        ("/v2/models/embed/infer", NULLS),
        ("/v2/models/embed/infer", {"parameters": {"timeout": None, "fit": None, "pooling": None}}),
        ("/v2/models/embed/infer", {"outputs": [{"name": "embedding", "parameters": {"binary_data": None}}]}),
        ("/reconstruct", {"edits": None, "quality": None, "donors": None, "tokens": None}),
        ("/tokens", {"heatmaps": None, "storage": None, "encoding_format": None}),
    ],
)
def test_null_is_the_default_everywhere(
    client: httpx.Client, photo: bytes, path: str, nulls: dict[str, Any]
) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [text_of(photo)]}
    body = (
        {"inputs": [tensor | {"parameters": None}]} if path.startswith("/v2") else {"image": text_of(photo)}
    )
    bare = {"inputs": [tensor]} if path.startswith("/v2") else body
    accept = {"accept": "application/json"}
    answer, want = (client.post(path, json=each, headers=accept) for each in (body | nulls, bare))
    assert answer.status_code == 200, answer.text
    assert answer.json() == want.json()


def test_head_is_refused_where_post_is_meant(client: httpx.Client) -> None:
    assert client.head("/embed").status_code == 405


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/embeddings", "http://HOST:PORT/v1 as their base URL"),
        ("/v1/v1/embeddings", "http://HOST:PORT/v1 as their base URL"),
        ("/v1/embeddings/embeddings", "http://HOST:PORT/v1 as their base URL"),
        ("/v1", "http://HOST:PORT/v1 as their base URL"),
        ("/v1/embeddings/", "leave away the slash"),
        ("/v1/embed", "/embed has no /v1 before it"),
        ("/chat/completions", "the service embeds pictures"),
        ("/v1/chat/completions", "the service embeds pictures"),
        ("/v1/responses", "the service embeds pictures"),
    ],
)
def test_base_url_that_is_wrong_is_told_to_openai_s_clients(
    client: httpx.Client, path: str, told: str
) -> None:
    answer = client.post(path, json={"input": "x"})
    assert answer.status_code == 404
    assert told in answer.json()["error"]["message"]


def test_slash_at_the_end_leads_nowhere_else(client: httpx.Client, photo: bytes) -> None:
    """A redirect would go to whatever host the request names."""
    answer = client.post("/embed/", content=photo, headers={"host": "elsewhere.example"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "slash" in answer.json()["detail"]
    assert "location" not in answer.headers


def test_curl_is_told_its_missing_type(server: Server, tmp_path: Path, photo: bytes) -> None:
    (tmp_path / "body.json").write_bytes(document(photo))
    command = ["curl", "--silent", "--noproxy", "*", "-d", "@body.json", f"{server.url}/embed"]
    answer = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert "-H 'content-type: application/json'" in json.loads(answer)["detail"]


def test_v1_takes_more_images_than_may_be_at_work_at_once(tmp_path: Path, toy_models: Path) -> None:
    """As LangChain, LlamaIndex and Chroma send them: a queue of 8 is never full for it, nor for others."""
    settings = {"STELLAR_MAX_IMAGES": "6", "STELLAR_MAX_QUEUE": "8", "STELLAR_MAX_INPUTS": "200"}
    with running(tmp_path / "log", settings, "--models", str(toy_models)) as server:
        sent = "data:image/png;base64," + text_of(picture((10, 20, 0)))
        answer = server.client.post("/v1/embeddings", json={"input": [sent] * 200, "model": "toy"})
        assert answer.status_code == 200, answer.text
        assert [item["index"] for item in answer.json()["data"]] == list(range(200))
        assert server.metric('stellar_images_total{model="toy",stage="encode"}') == 200
        refused = server.client.post("/v1/embeddings", json={"input": [sent] * 201, "model": "toy"})
        assert refused.status_code == 400
        assert "At most 200" in refused.json()["error"]["message"]
        bad = server.client.post(
            "/v1/embeddings",
            json={"input": [*[sent] * 20, "data:image/png;base64,AAAA", *[sent] * 20], "model": "toy"},
        )
        assert "image 20" in bad.json()["error"]["message"]

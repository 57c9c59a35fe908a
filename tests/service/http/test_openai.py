"""/v1 as OpenAI's own client meets it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.docs.pages import ROOT
from tests.service.http.test_overload import PATIENT, full
from tests.service.photos import data_uri, plain
from tests.service.server import Server, running

MODEL = "stellar-tiny"


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def test_vectors_are_those_of_embed(server: Server, client: OpenAI, photo: bytes, other_photo: bytes) -> None:
    expected = server.embedded(photo, other_photo)
    (alone,) = client.embeddings.create(model=MODEL, input=data_uri(photo)).data
    both = client.embeddings.create(
        model=MODEL, input=[data_uri(photo), data_uri(other_photo)], encoding_format="float"
    )
    assert [item.index for item in both.data] == [0, 1]
    np.testing.assert_allclose(alone.embedding, expected[0], atol=1e-6)
    np.testing.assert_allclose([item.embedding for item in both.data], expected, atol=1e-6)


def test_answer_names_the_content_and_counts_the_patches(
    server: Server, client: OpenAI, photo: bytes
) -> None:
    answer = client.embeddings.create(model=MODEL, input=[data_uri(photo)] * 2)
    served = server.client.get("/models").json()["models"][0]
    assert answer.model == served["id"]
    assert answer.model_extra == {"pooling": served["poolings"][0]}
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 2 * 12 * 12


def test_client_asks_for_base64_of_little_endian_floats(client: OpenAI, photo: bytes) -> None:
    raw = client.embeddings.with_raw_response.create(model=MODEL, input=data_uri(photo))
    text = json.loads(raw.content)["data"][0]["embedding"]
    vector = np.frombuffer(base64.b64decode(text), "<f4")
    assert vector.tolist() == raw.parse().data[0].embedding


def test_asynchronous_clients_share_batches(server: Server, photo: bytes) -> None:
    async def ask() -> list[list[float]]:
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
            asked = (client.embeddings.create(model=MODEL, input=data_uri(photo)) for _ in range(8))
            return [answer.data[0].embedding for answer in await asyncio.gather(*asked)]

    np.testing.assert_allclose(asyncio.run(ask()), server.embedded(photo) * 8, atol=1e-5)


@pytest.mark.parametrize("form", ["object", "string", "beside an empty text"])
def test_chats_with_one_image_are_taken_as_vllm_takes_them(
    server: Server, client: OpenAI, photo: bytes, form: str
) -> None:
    url = data_uri(photo) if form == "string" else {"url": data_uri(photo), "detail": "low"}
    content = [{"type": "image_url", "image_url": url}]
    if form == "beside an empty text":
        content.append({"type": "text", "text": ""})
    answer = client.post(
        "/embeddings",
        body={"model": MODEL, "messages": [{"role": "user", "content": content}], "encoding_format": "float"},
        cast_to=openai.types.CreateEmbeddingResponse,
    )
    assert [item.embedding for item in answer.data] == server.embedded(photo)


def test_options_of_embed_travel_in_the_extra_body(server: Server, client: OpenAI, photo: bytes) -> None:
    options = {"pooling": "cls", "fit": "pad", "box": "0,0.1,0.5,1"}
    answer = client.embeddings.create(
        model=MODEL,
        input=data_uri(photo),
        extra_body=options | {"modality": "image"},
        dimensions=192,
        user="me",
    )
    np.testing.assert_allclose(answer.data[0].embedding, server.embedded(photo, **options)[0], atol=1e-6)


def test_models_are_listed_and_found(server: Server, client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    version = server.client.get("/models").json()["models"][0]["id"]
    assert client.models.retrieve(MODEL) == client.models.retrieve(version)
    for name in ("text-embedding-3-small", "someone/something"):
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve(name)
        assert caught.value.code == "model_not_found"


WEB = "https://example.org/cat.jpg"
SHORT = data_uri(b"\xff\xd8\xff no more")
GOOD = data_uri(plain(100))


def chat(*content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": each} for each in content]}


PICTURE = {"type": "image_url", "image_url": {"url": GOOD}}


@pytest.mark.parametrize(
    ("fields", "code", "param", "told"),
    [
        ({"input": [GOOD, "a cat"]}, "text_input", "input", "input 1: expected a data URI"),
        ({"input": 2.5}, "bad_request", "input", "got float"),
        ({"input": [{"text": "a cat"}]}, "bad_request", "input", "input 0: expected a data URI"),
        ({"input": []}, "no_image", "input", "no image"),
        ({}, "no_image", "input", "no image"),
        ({"input": WEB}, "remote_image", "input", "not fetched"),
        ({"input": [GOOD, SHORT]}, "unknown_image_format", "input", "image 1: The bytes are no image"),
        (
            {"input": "data:image/png;base64,%%"},
            "corrupt_image",
            "input",
            "input 0: This is no valid base64: character 23 is % (U+0025)",
        ),
        ({"input": "data:image/png,abc"}, "corrupt_image", "input", "not base64"),
        ({"input": ["AAAA"] * 2049}, "too_many_images", None, "At most 2048"),
        ({"input": GOOD, "dimensions": 64}, "bad_option", "dimensions", "have 192 numbers"),
        ({"input": GOOD, "encoding_format": "int8"}, "bad_option", "encoding_format", "'float' or 'base64'"),
        ({"input": GOOD, "modality": "audio"}, "bad_option", "modality", "'image'"),
        ({"input": GOOD, "pooling": "tokens"}, "bad_option", "pooling", "'mean', 'cls' or 'whitened'"),
        ({"input": GOOD, "colour": 1}, "bad_option", "colour", "no such option"),
        ({"input": GOOD} | chat([PICTURE]), "bad_request", "input", "not both"),
        (chat("a cat", [PICTURE]), "bad_request", "messages", "got ['text', 'image_url']"),
        (chat([PICTURE], [PICTURE]), "bad_request", "messages", "several images go into input"),
        (
            chat([PICTURE, {"type": "text", "text": "what?"}]),
            "bad_request",
            "messages",
            "'image_url', 'text'",
        ),
        (chat([{"type": "image_url"}]), "no_image", "messages", "no image"),
        (chat([{"type": "image_url", "image_url": WEB}]), "remote_image", "messages", "messages 0: "),
        (
            chat([{"type": "image_url", "image_url": SHORT}]),
            "unknown_image_format",
            "messages",
            "no image in",
        ),
        ({"messages": "hello"}, "bad_option", "messages", "valid list"),
    ],
)
def test_bad_requests_are_told_in_openai_s_words(
    client: OpenAI, fields: dict[str, Any], code: str, param: str | None, told: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/embeddings", body={"model": MODEL} | fields, cast_to=object)
    error = caught.value
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")
    assert told in error.message
    assert error.response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("fields", "param", "told"),
    [
        ({"input": "a cat"}, "input", "input 0: expected a data URI of an image"),
        ({"input": ""}, "input", "got a text of 0 characters"),
        ({"input": ["a cat", "a dog"]}, "input", "got a text of 5 characters"),
        ({"input": "a cat " * 50_000}, "input", "got a text of 300000 bytes"),
        ({"input": [64, 8415]}, "input", "got tokens of a text; LangChain"),
        ({"input": [[64, 8415], [64]]}, "input", "check_embedding_ctx_length=False"),
        ({"input": ["a cat"], "modality": "text"}, "modality", "expected 'image'"),
        (chat("a cat"), "messages", "expected one image_url part"),
        (chat([{"type": "text", "text": "a cat"}], "a dog"), "messages", "expected one image_url part"),
    ],
)
def test_text_is_refused_in_plain_words(
    client: OpenAI, fields: dict[str, Any], param: str, told: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/embeddings", body={"model": MODEL} | fields, cast_to=object)
    error = caught.value
    assert (error.code, error.param) == ("text_input", param)
    assert "This model embeds pictures, not text." in error.message
    assert told in error.message
    (page,) = re.findall(r"docs/\S+\.md", error.message)
    assert (ROOT / page).exists()


def test_other_errors_have_openai_s_shape(client: OpenAI, server: Server) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.embeddings.create(model="text-embedding-3-small", input=GOOD)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    for method, path, status in (("POST", "/v1/chat/completions", 404), ("GET", "/v1/embeddings", 405)):
        answer = server.client.request(method, path)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    for body in (b"", b"[]", b"[" * 100_000, b'{"input": "\\ud800"}', b'{"\\ud800": 1}'):
        answer = server.client.post("/v1/embeddings", content=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_keys_and_limits_are_told_in_openai_s_words(tmp_path: Path, toy_models: Path) -> None:
    settings = {"STELLAR_API_KEYS": "sesame", "STELLAR_MAX_BODY_BYTES": "2000"}
    settings |= {"STELLAR_REQUEST_TIMEOUT_S": "0.000001"}
    with running(tmp_path / "log", settings, "--models", str(toy_models)) as server:
        url = f"{server.url}/v1"
        with OpenAI(base_url=url, api_key="sesame", max_retries=0) as client:
            assert [model.id for model in client.models.list()] == ["toy"]
            with pytest.raises(openai.APIStatusError) as large:
                client.embeddings.create(model="toy", input="x" * 2000)
            with pytest.raises(openai.InternalServerError) as late:
                client.embeddings.create(model="toy", input=GOOD)
        with (
            OpenAI(base_url=url, api_key="thief") as client,
            pytest.raises(openai.AuthenticationError) as thief,
        ):
            client.embeddings.create(model="toy", input=GOOD)
    told = [(error.status_code, error.code, error.type) for error in (large.value, late.value, thief.value)]
    assert told == [
        (413, "body_too_large", "invalid_request_error"),
        (504, "deadline_exceeded", "server_error"),
        (401, "invalid_api_key", "invalid_request_error"),
    ]


def test_clients_come_again_when_the_queue_was_full(tmp_path: Path, toy_models: Path) -> None:
    arguments = ["--models", str(toy_models), "--max-queue", "2", "--threads", "1"]
    with running(tmp_path / "log", PATIENT, *arguments) as server, ThreadPoolExecutor(4) as pool:
        three = full(server, pool)
        with OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
            with pytest.raises(openai.InternalServerError) as refused:
                client.embeddings.create(model="toy", input=GOOD)
            assert not any(each.done() for each in three[1:])
            assert (refused.value.status_code, refused.value.code) == (503, "queue_full")
            assert int(refused.value.response.headers["retry-after"]) >= 1
            patient = client.with_options(max_retries=30)
            assert len(patient.embeddings.create(model="toy", input=GOOD).data[0].embedding) == 4
        assert [each.result().status_code for each in three] == [200, 200, 200]
        assert server.metric('stellar_rejected_total{reason="queue_full"}') >= 1


def test_requests_are_counted_by_template(server: Server, client: OpenAI) -> None:
    client.embeddings.create(model=MODEL, input=GOOD)
    client.models.retrieve(MODEL)
    assert server.metric('stellar_requests_total{route="/v1/embeddings",status="200"}') >= 1
    assert server.metric('stellar_requests_total{route="/v1/models/{model:path}",status="200"}') >= 1
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    assert "input" in str(paths["/v1/embeddings"]["post"]["requestBody"])

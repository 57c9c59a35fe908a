"""Many images in one request to /v1/embeddings, as clients send them; nobody else pays for it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
from openai import OpenAI

from tests.service.fleet.load import colour_of, picture
from tests.service.http.test_overload import PATIENT
from tests.service.photos import data_uri, plain
from tests.service.server import Server, running

ENCODED = 'stellar_images_total{model="toy",stage="encode"}'
WAITING = 'stellar_queue_depth{model="toy",stage="encode"}'
GONE = 'stellar_requests_total{route="/v1/embeddings",status="499"}'
KEYS = {"STELLAR_API_KEYS": "many,few", **PATIENT}
QUICK, SLOW, SLOWEST = data_uri(plain(0)), data_uri(plain(25)), data_uri(plain(255))
"""The toy model works on the second for about a tenth of a second, on the third for one."""


class Batch(NamedTuple):
    """What a client sends of as many images as it puts into one request unless told otherwise."""

    client: str
    version: str
    """A release, or the commit whose source says so."""
    images: int
    fields: dict[str, Any]
    before: str


BATCHES = (
    Batch("langchain-openai", "00a2972", 1000, {"encoding_format": "base64"}, "too_many_images"),
    Batch("llama-index-embeddings-openai", "05aeb9a", 100, {"encoding_format": "base64"}, "too_many_images"),
    Batch("@ai-sdk/openai-compatible", "0af8669", 2048, {"encoding_format": "float"}, "too_many_images"),
    Batch("chromadb", "0196264", 2048, {"encoding_format": "base64"}, "too_many_images"),
    # LiteLLM and Infinity's client send as many as they are given; later ones of the latter add dimensions.
    Batch("litellm", "1.82.3", 2048, {"encoding_format": None}, "bad_option"),
    Batch(
        "infinity_client",
        "2528349",
        32,
        {"model": "default/not-specified", "modality": "image", "user": None, "dimensions": 0},
        "bad_option",
    ),
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, toy_models: Path) -> Iterator[Server]:
    """The small model with default limits."""
    with running(tmp_path_factory.mktemp("toy") / "log", {}, "--models", str(toy_models)) as server:
        yield server


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def send(server: Server, images: list[str], key: str = "many", **arguments: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    body = {"input": images}
    return httpx.post(
        f"{server.url}/v1/embeddings", json=body, headers=headers, **{"timeout": None} | arguments
    )


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: batch.client)
def test_batches_of_clients_are_answered_whole_and_in_order(toy: Server, batch: Batch) -> None:
    """Not scaled, which no client asks for: each vector then says which image it is of."""
    images = [data_uri(picture(colour_of(number))) for number in range(batch.images)]
    answer = toy.client.post(
        "/v1/embeddings", json={"model": "toy", "input": images} | {"normalize": False} | batch.fields
    )
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [item["index"] for item in data] == list(range(batch.images))
    got = [item["embedding"] for item in data]
    if batch.fields.get("encoding_format") == "base64":
        got = [np.frombuffer(base64.b64decode(text), "<f4") for text in got]
    want = [[sum(colour_of(number)) / 3 / 255] * 4 for number in range(batch.images)]
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_openai_s_client_may_send_2048_and_not_one_more(toy: Server) -> None:
    with OpenAI(base_url=f"{toy.url}/v1", api_key="any", max_retries=0) as client:
        assert len(client.embeddings.create(model="toy", input=[QUICK] * 2048).data) == 2048
    answer = toy.client.post("/v1/embeddings", json={"input": [QUICK] * 2049})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "too_many_images")
    assert "At most 2048" in answer.json()["error"]["message"]


def test_others_go_ahead_of_many_images_which_never_fill_the_queue(
    tmp_path: Path, toy_models: Path, pool: ThreadPoolExecutor
) -> None:
    settings = KEYS | {"STELLAR_MAX_IMAGES": "4", "STELLAR_MAX_QUEUE": "8"}
    with running(tmp_path / "log", settings, "--models", str(toy_models)) as server:
        many = pool.submit(send, server, [SLOW] * 18 + [SLOWEST] * 2)
        server.wait_until(lambda: server.metric(WAITING) > 0)
        for _ in range(5):
            assert send(server, [QUICK], "few").status_code == 200
            assert server.metric(WAITING) <= 4
        assert not many.done()
        assert many.result().status_code == 200
        assert server.metric(ENCODED) == 25


def test_queue_that_is_smaller_than_a_request_is_no_reason_to_refuse_it(
    tmp_path: Path, toy_models: Path
) -> None:
    settings = KEYS | {"STELLAR_MAX_QUEUE": "1"}
    with running(tmp_path / "log", settings, "--models", str(toy_models)) as server:
        assert send(server, [QUICK] * 20).status_code == 200


def test_images_of_a_client_that_left_are_not_worked_on(
    tmp_path: Path, toy_models: Path, pool: ThreadPoolExecutor
) -> None:
    with running(tmp_path / "log", KEYS, "--models", str(toy_models)) as server:
        with pytest.raises(httpx.ReadTimeout):
            send(server, [SLOW] * 200, timeout=httpx.Timeout(60, read=0.5))
        server.wait_until(lambda: server.metric(GONE) == 1)
        assert send(server, [QUICK], "few").status_code == 200
        server.wait_until(lambda: server.metric(WAITING) == 0)
        assert 0 < server.metric(ENCODED) < 200


def test_deadline_is_the_whole_request_s_and_says_how_far_it_came(tmp_path: Path, toy_models: Path) -> None:
    settings = KEYS | {"STELLAR_REQUEST_TIMEOUT_S": "1"}
    with running(tmp_path / "log", settings, "--models", str(toy_models)) as server:
        error = send(server, [SLOW] * 200)
        assert (error.status_code, error.json()["error"]["code"]) == (504, "deadline_exceeded")
        assert error.json()["error"]["message"].startswith("image ")
        assert send(server, [QUICK]).status_code == 200
        server.wait_until(lambda: server.metric(WAITING) == 0)
        assert server.metric(ENCODED) < 200


def test_first_bad_image_ends_the_request(tmp_path: Path, toy_models: Path) -> None:
    settings = KEYS | {"STELLAR_MAX_IMAGES": "4"}
    with running(tmp_path / "log", settings, "--models", str(toy_models)) as server:
        bad = data_uri(b"\xff\xd8\xff no more")
        error = send(server, [*[QUICK] * 10, bad, *[SLOW] * 200])
        assert (error.status_code, error.json()["error"]["param"]) == (400, "input")
        assert error.json()["error"]["message"].startswith("image 10: ")
        assert send(server, [QUICK]).status_code == 200
        server.wait_until(lambda: server.metric(WAITING) == 0)
        assert server.metric(ENCODED) <= 10 + 4 + 1  # beside those at work by then, none

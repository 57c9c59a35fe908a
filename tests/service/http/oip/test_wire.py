"""/v2 on the wire: what no sound client sends."""

from __future__ import annotations

import gzip
import json
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.fleet.cluster import cluster_of
from tests.service.photos import plain
from tests.service.server import Server, running

HEADER_LENGTH = "inference-header-content-length"
IMAGE = {"name": "image", "datatype": "UINT8", "shape": [1, 8, 8, 3]}
PIXELS = bytes(8 * 8 * 3)
BOMB = gzip.compress(bytes(2_000_000), mtime=0)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, toy_models: Path) -> Any:
    """The small model, behind a limit of a million bytes."""
    settings = {"STELLAR_MAX_BODY_BYTES": "1000000"}
    with running(tmp_path_factory.mktemp("toy") / "log", settings, "--models", str(toy_models)) as server:
        yield server


def infer(server: Server, model: str, body: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.client.post(f"/v2/models/{model}/infer", content=body, headers=named)


def message(document: Any, *sections: bytes) -> tuple[bytes, dict[str, str]]:
    """A body and the header that says where its bytes begin."""
    header = json.dumps(document).encode()
    return b"".join((header, *sections)), {HEADER_LENGTH: str(len(header))}


def sized(tensor: dict[str, Any], size: Any) -> dict[str, Any]:
    return {"inputs": [tensor | {"parameters": {"binary_data_size": size}}]}


def listed(*data: Any, **fields: Any) -> dict[str, Any]:
    return {"inputs": [IMAGE | {"data": list(data)} | fields]}


def test_nested_lists_are_read_as_flat_ones_and_unnamed_things_are_passed_over(toy: Server) -> None:
    levels = np.arange(192).reshape(1, 8, 8, 3)
    hints = {"parameters": {"content_type": "np"}, "more": 1}
    answers = [
        infer(toy, "encoder", json.dumps(listed(*data, **fields)).encode()).json()["outputs"]
        for data, fields in ((levels.tolist(), {}), (levels.ravel().tolist(), hints))
    ]
    assert answers[0] == answers[1]
    semantics = np.reshape(answers[0][0]["data"], answers[0][0]["shape"])
    np.testing.assert_allclose(semantics[0, :, 0], levels.mean((0, 1, 2)) / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("document", "sections", "told"),
    [
        (sized(IMAGE, 192), [PIXELS[1:]], "the body has 191 bytes for it, got 192"),
        (sized(IMAGE, 191), [PIXELS[1:]], "has 192 bytes, got 191"),
        (sized(IMAGE, 192), [PIXELS, b"x"], "1 bytes behind its last tensor"),
        (sized(IMAGE, -1), [PIXELS], "the body has 192 bytes for it, got -1"),
        (sized(IMAGE, True), [PIXELS], "got True"),
        (sized(IMAGE, "192"), [PIXELS], "got '192'"),
        (sized(IMAGE, 10**18), [PIXELS], "got 1000000000000000000"),
        (sized(IMAGE | {"shape": [2**62, 8, 8, 3]}, 192), [PIXELS], "At most 32 images"),
        (sized(IMAGE | {"shape": [1, 8, 8, 2**62]}, 192), [PIXELS], "expected UINT8 [-1, 8, 8, 3]"),
        (sized(IMAGE | {"shape": [1, 8, 8, 2**70]}, 192), [PIXELS], "inputs.0.shape.3"),
        (sized(IMAGE | {"shape": [-1, 8, 8, 3]}, 192), [PIXELS], "inputs.0.shape.0"),
        (sized(IMAGE | {"shape": []}, 192), [PIXELS], "got UINT8 []"),
        (sized(IMAGE | {"shape": [1.0, 8, 8, 3]}, 192), [PIXELS], "inputs.0.shape.0"),
        (sized(IMAGE | {"datatype": "STRING"}, 192), [PIXELS], "got STRING"),
        (listed(*PIXELS[1:]), [], "has 192 numbers, got 191"),
        (listed(*PIXELS[1:], 256), [], "numbers from 0 to 255"),
        (listed(*PIXELS[1:], -1), [], "numbers from 0 to 255"),
        (listed(*PIXELS[1:], 0.5), [], "expected whole numbers"),
        (listed(*PIXELS[1:], "0"), [], "expected whole numbers"),
        (listed(*PIXELS[1:], None), [], "expected whole numbers"),
        (listed(*PIXELS[1:], 10**30), [], "expected whole numbers"),
        (listed(*PIXELS[1:], [0]), [], "evenly nested list"),
        (listed(*[True] * 192), [], "expected whole numbers"),
        (listed(*PIXELS, datatype="FP32"), [], "got FP32"),
        (listed() | {"inputs": [IMAGE]}, [], "expected data"),
        (listed() | {"inputs": [IMAGE | {"data": "AAAA"}]}, [], "expected data"),
        ({"inputs": "none"}, [], "inputs"),
        ({}, [], "inputs"),
        (listed(*PIXELS) | {"id": 7}, [], "id"),
        (listed(*PIXELS) | {"parameters": {"timeout": -1}}, [], "timeout"),
        (listed(*PIXELS) | {"parameters": {"timeout": 0.5}}, [], "timeout"),
        (listed(*PIXELS) | {"parameters": {"timeout": 10**16}}, [], "timeout"),
        (listed(*PIXELS) | {"parameters": {"timeout": 10**400}}, [], "no valid JSON: number is infinity"),
        (listed(*PIXELS) | {"parameters": {"timeout": "1" + "0" * 400}}, [], "timeout"),
        (listed(*PIXELS) | {"inputs": [{}] * 17}, [], "inputs: List should have at most 16 items"),
        (listed(*PIXELS) | {"outputs": [{}] * 17}, [], "outputs: List should have at most 16 items"),
        (listed(*PIXELS, shape=[1] * 9), [], "inputs.0.shape: List should have at most 8 items"),
        (listed("x" * 1000, *[""] * 191), [], "expected whole numbers."),
        (listed(*PIXELS) | {"parameters": {"binary_data_output": "maybe"}}, [], "binary_data_output"),
        (listed(*PIXELS) | {"outputs": [{"name": "cls"}] * 2}, [], "each once"),
        ([], [], "expected an object"),
    ],
)
def test_documents_that_lie_are_refused(toy: Server, document: Any, sections: list[bytes], told: str) -> None:
    body, headers = message(document, *sections)
    answer = toy.client.post("/v2/models/encoder/infer", content=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]
    assert told in answer.json()["error"]


def test_numbers_of_tokens_are_finite_and_no_larger_than_float16_s(toy: Server) -> None:
    def decode(number: float) -> httpx.Response:
        semantics = {"name": "semantics", "datatype": "FP32", "shape": [1, 3, 4], "data": [number] * 12}
        places = {"name": "localization", "datatype": "FP32", "shape": [1, 4, 3], "data": [1] * 12}
        return infer(toy, "decoder", json.dumps({"inputs": [semantics, places]}).encode())

    assert decode(1.0).status_code == 200
    for number, told in ((1e30, "at most 65504"), (1e300, "expected finite numbers")):
        assert decode(number).status_code == 400
        assert told in decode(number).json()["error"]


ELEMENT = struct.pack("<I", 3) + b"abc"


@pytest.mark.parametrize(
    ("count", "section", "told"),
    [
        (1, b"", "element 0 ends at byte 4 of 0"),
        (1, ELEMENT[:3], "element 0 ends at byte"),
        (1, ELEMENT[:-1], "element 0 ends at byte 7 of 6"),
        (1, struct.pack("<I", 2**32 - 1) + b"abc", "element 0 ends at byte 4294967299 of 7"),
        (2, ELEMENT, "element 1 ends at byte 11 of 7"),
        (1, ELEMENT * 2, "1 elements end at byte 7 of 14"),
    ],
)
def test_elements_that_do_not_fill_their_section_are_refused(
    toy: Server, count: int, section: bytes, told: str
) -> None:
    image = {"name": "image", "datatype": "BYTES", "shape": [count]}
    body, headers = message(sized(image, len(section)), section)
    answer = toy.client.post("/v2/models/embed/infer", content=body, headers=headers)
    assert answer.status_code == 400
    assert told in answer.json()["error"]


def test_images_in_json_are_base64_and_as_many_as_the_shape_says(toy: Server) -> None:
    def embed(*data: Any) -> httpx.Response:
        image = {"name": "image", "datatype": "BYTES", "shape": [1], "data": data}
        return infer(toy, "embed", json.dumps({"inputs": [image]}).encode())

    for data, status, told in (
        (["AAAA", "AAAA"], 400, "expected 1 strings, got 2"),
        (["%%"], 422, "no valid base64"),
        ([7], 422, "base64 string"),
        (["https://example.org/cat.jpg"], 400, "not fetched"),
    ):
        answer = embed(*data)
        assert answer.status_code == status
        assert told in answer.json()["error"]


@pytest.mark.parametrize("length", [b"", b"-1", b"1e3", b"\xb2", b"1000", b"9" * 400])
def test_header_length_beyond_the_body_is_refused(toy: Server, length: bytes) -> None:
    headers = {HEADER_LENGTH.encode(): length}
    answer = toy.client.post("/v2/models/encoder/infer", content=b"{}", headers=headers)
    assert answer.status_code == 400
    assert HEADER_LENGTH in answer.json()["error"]


@pytest.mark.parametrize(
    ("encoding", "body", "status", "told"),
    [
        ("gzip", b"{}", 400, "no valid gzip"),
        ("deflate", gzip.compress(b"{}", mtime=0), 400, "no valid deflate"),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-1], 400, "cut short"),
        ("gzip", gzip.compress(b"{}", mtime=0) + b"more", 400, "behind its end"),
        ("gzip", b"", 400, "cut short"),
        ("gzip", BOMB, 413, "1000000 bytes"),
        ("deflate", zlib.compress(bytes(1_000_001)), 413, "1000000 bytes"),
        ("br", b"{}", 415, "gzip or deflate, got 'br'"),
        ("gzip, gzip", b"{}", 415, "gzip or deflate"),
        ("identity", b"{}", 400, "inputs"),
    ],
)
def test_compression_that_cheats_is_refused(
    toy: Server, encoding: str, body: bytes, status: int, told: str
) -> None:
    answer = infer(toy, "encoder", body, content_encoding=encoding)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert told in answer.json()["error"]


@pytest.mark.parametrize(
    ("accept", "used"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip;q=0.5, deflate", "deflate"),
        ("gzip;q=0, br", None),
        ("identity", None),
        ("", None),
        (",;q", None),
    ],
)
def test_answers_are_compressed_as_the_client_likes_best(toy: Server, accept: str, used: str | None) -> None:
    answer = infer(toy, "encoder", json.dumps(listed(*PIXELS)).encode(), accept_encoding=accept)
    assert answer.headers.get("content-encoding") == used
    assert answer.json()["model_name"] == "encoder"


def test_damaged_requests_never_break_the_service(toy: Server) -> None:
    source = random.Random(5)
    element = struct.pack("<I", len(plain(3))) + plain(3)
    image = {"name": "image", "datatype": "BYTES", "shape": [1]}
    requests = [
        ("encoder", *message(sized(IMAGE, 192), PIXELS)),
        ("embed", *message(sized(image, len(element)), element)),
    ]
    statuses = set()
    for i in range(300):
        model, sound, headers = requests[i % 2]
        body = bytearray(sound)
        for _ in range(source.randint(0, 3)):
            body[source.randrange(len(body))] = source.randrange(256)
        cut = source.choice((len(body), len(body), source.randrange(len(body))))
        statuses.add(
            toy.client.post(
                f"/v2/models/{model}/infer", content=bytes(body[:cut]), headers=headers
            ).status_code
        )
    assert {200, 400} <= statuses <= {200, 400, 422}
    assert toy.answers("/v2/health/ready", 200)


def test_routes_are_counted_by_template_and_errors_have_the_protocol_s_shape(toy: Server) -> None:
    for method, path, status in (
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/encoder/infer", 405),
        ("POST", "/v2/models/absent.encoder/infer", 404),
    ):
        answer = toy.client.request(method, path)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert "absent" not in toy.client.get("/metrics").text
    assert toy.metric('stellar_requests_total{route="/v2/models/{name}/infer",status="404"}') >= 1
    paths = toy.client.get("/openapi.json").json()["paths"]
    assert "inputs" in str(paths["/v2/models/{name}/infer"]["post"]["requestBody"])


def test_keys_guard_all_but_health(tmp_path: Path) -> None:
    """And while models can't be used, readiness says so in the protocol's words."""
    (tmp_path / "models").mkdir()
    arguments = ["--models", str(tmp_path / "models")]
    with Server(tmp_path / "log", {"STELLAR_API_KEYS": "sesame"}, *arguments) as server:
        server.expect("models_failed")
        server.wait_until(lambda: server.answers("/v2/health/live", 200))
        server.wait_until(lambda: "holds no bundle" in server.client.get("/v2/health/ready").text)
        key = {"authorization": "Bearer sesame"}
        for path in (
            "/v2",
            "/v2/models/encoder",
            "/v2/models/encoder/ready",
            "/v2/models/encoder/versions/1/ready",
        ):
            assert list(server.client.get(path).json()) == ["error"]
            assert server.client.get(path).status_code == 401
            answer = server.client.get(path, headers=key)
            assert (answer.status_code, list(answer.json())) == (503, ["error"])
            assert int(answer.headers["retry-after"]) >= 1


def test_workers_behind_redis_and_the_cache_give_the_same_tensors(
    toy: Server, tmp_path: Path, toy_models: Path
) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    levels[:, 0, 0] = 0  # the darker the darkest pixel, the faster the toy
    image = IMAGE | {"shape": [2, 8, 8, 3]}
    body, headers = message(sized(image, levels.size), levels.tobytes())

    def encode_and_decode(server: Server) -> list[Any]:
        encoded = server.client.post("/v2/models/encoder/infer", content=body, headers=headers).json()[
            "outputs"
        ]
        drawn = infer(server, "decoder", json.dumps({"inputs": encoded[:2]}).encode()).json()["outputs"]
        return [tensor["data"] for tensor in (*encoded, *drawn)]

    with cluster_of(tmp_path, toy_models, cache_ttl_s="60") as cluster:
        cluster.worker()
        api = cluster.ready()
        for _ in range(2):
            for got, expected in zip(encode_and_decode(api), encode_and_decode(toy), strict=True):
                np.testing.assert_allclose(got, expected, atol=1e-6)
        assert api.metric('stellar_cache_total{result="hit"}') == 4

"""The process as its operators meet it: readiness, limits, keys, overload, shutdown, logs."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from service.settings import BUNDLED_MODELS
from tests.service.server import Server, running
from tests.service.toy import write_toy

ENCODED = 'stellar_images_total{model="stellar-tiny",stage="encode"}'


def test_health_models_docs_and_metrics(client: httpx.Client, photo: bytes) -> None:
    assert client.get("/healthz/live").json() == {"status": "live"}
    assert client.get("/healthz/ready").json()["models"][0].startswith("stellar-tiny@")
    served = client.get("/models").json()
    assert served["max_edits"] == 64
    model = served["models"][0]
    assert model["provider"] == "CPUExecutionProvider"
    assert model["parity"]["localization_max_abs"] <= 1e-4
    assert client.get("/docs").status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert "multipart/form-data" in paths["/reconstruct"]["post"]["requestBody"]["content"]
    client.post("/embed", files={"image": photo})
    text = client.get("/metrics").text
    for name in (
        'stellar_requests_total{route="/embed",status="200"}',
        "stellar_request_duration_seconds_bucket",
        'stellar_stage_duration_seconds_count{stage="decode"}',
        'stellar_stage_duration_seconds_count{stage="inference"}',
        'stellar_batch_size_count{model="stellar-tiny",stage="encode"}',
        'stellar_queue_depth{model="stellar-tiny",stage="encode"}',
        "stellar_model_info{",
    ):
        assert name in text


def test_unknown_paths_and_methods_are_problems_and_one_label(server: Server) -> None:
    for path in ("/nope", "/nope/deeper"):
        answer = server.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert server.client.get("/embed").json()["code"] == "method_not_allowed"
    assert "nope" not in server.client.get("/metrics").text


def test_a_sane_request_id_is_kept_and_logged_an_insane_one_is_not(server: Server) -> None:
    kept = server.client.get("/models", headers={"x-request-id": "trace-7.b"})
    assert kept.headers["x-request-id"] == "trace-7.b"
    refused = server.client.get("/models", headers={"x-request-id": "x" * 65})
    assert refused.headers["x-request-id"] != "x" * 65
    server.wait_until(lambda: any(line["request_id"] == "trace-7.b" for line in server.logged("request")))


def test_concurrent_requests_keep_their_results(server: Server, photo: bytes, other_photo: bytes) -> None:
    def embed(image: bytes) -> object:
        answer = httpx.post(server.client.base_url.join("/embed"), files={"image": image}, timeout=60)
        return answer.json()["data"][0]["embedding"]

    alone = [embed(photo), embed(other_photo)]
    before = server.metric(ENCODED)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(embed, [photo, other_photo] * 8))
    assert server.metric(ENCODED) - before == 16
    for got, want in zip(together, alone * 8, strict=True):
        assert got == pytest.approx(want, abs=1e-5)


def test_bodies_beyond_the_limit_are_refused_declared_or_not(tmp_path: Path) -> None:
    with running(tmp_path / "log", {"STELLAR_MAX_BODY_BYTES": "1000"}) as server:
        declared = server.client.post("/embed", content=b"x" * 1001)
        chunked = server.client.post("/embed", content=iter([b"x" * 600, b"x" * 600]))
        boundary = {"content-type": "multipart/form-data; boundary=b"}
        part = b'--b\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n'
        form = server.client.post("/embed", content=iter([part, b"x" * 1000]), headers=boundary)
        for answer in (declared, chunked, form):
            assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large"), answer.text
            assert "1000 bytes" in answer.json()["detail"]
        assert server.answers("/healthz/ready", 200)


def test_keys_let_in_who_has_one_and_never_reach_the_log(tmp_path: Path, photo: bytes) -> None:
    (tmp_path / "keys").write_text("first-secret\n\nsecond-secret\n")
    settings = {"STELLAR_API_KEYS_FILE": str(tmp_path / "keys"), "STELLAR_API_KEYS": "third-secret"}
    with running(tmp_path / "log", settings | {"STELLAR_LOG_LEVEL": "debug"}) as server:

        def embed(headers: dict[str, str]) -> httpx.Response:
            return server.client.post("/embed", files={"image": photo}, headers=headers)

        for headers in (
            {"authorization": "Bearer first-secret"},
            {"authorization": "bearer third-secret"},
            {"x-api-key": "second-secret"},
        ):
            assert embed(headers).status_code == 200
        for headers in ({}, {"x-api-key": "fourth-secret"}, {"authorization": "Basic first-secret"}):
            refused = embed(headers)
            assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
            assert refused.headers["www-authenticate"] == "Bearer"
        assert server.client.get("/models").status_code == 401
        assert server.client.get("/metrics").status_code == 200
        assert "secret" not in server.log


def test_a_missed_deadline_is_a_504(tmp_path: Path, photo: bytes) -> None:
    with running(tmp_path / "log", {"STELLAR_REQUEST_TIMEOUT_S": "0.000001"}) as server:
        answer = server.client.post("/embed", files={"image": photo})
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
        assert server.metric(ENCODED) == 0


def test_a_bad_bundle_stops_readiness_with_the_reason(tmp_path: Path, photo: bytes) -> None:
    models = Path(shutil.copytree(BUNDLED_MODELS, tmp_path / "models"))
    graph = models / "stellar-tiny/encoder.onnx"
    content = bytearray(graph.read_bytes())
    content[1000] ^= 1
    graph.write_bytes(content)
    with Server(tmp_path / "log", {}, "--models", str(models)) as server:
        server.expect("models_failed")
        server.wait_until(lambda: server.answers("/healthz/live", 200))
        server.wait_until(lambda: "encoder.onnx is damaged" in server.client.get("/healthz/ready").text)
        answer = server.client.get("/healthz/ready")
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        refused = 'stellar_rejected_total{reason="not_ready"}'
        assert server.metric(refused) == 0  # a probe is no traffic
        assert server.client.post("/embed", files={"image": photo}).json()["code"] == "not_ready"
        assert server.metric(refused) == 1
        assert "/healthz" not in server.client.get("/metrics").text
        assert server.answers("/healthz/live", 200)
        assert server.stop() == 0


def test_a_provider_that_is_missing_is_an_error_unless_fallback_is_allowed(
    tmp_path: Path, toy_models: Path
) -> None:
    arguments = ("--device", "cuda", "--models", str(toy_models))
    with Server(tmp_path / "log", {}, *arguments) as server:
        server.expect("models_failed")
        server.wait_until(lambda: server.answers("/healthz/live", 200))
        server.wait_until(
            lambda: "CUDAExecutionProvider can't be used" in server.client.get("/healthz/ready").text
        )
    fallback = {"STELLAR_ALLOW_FALLBACK": "true"}
    with running(tmp_path / "log2", fallback, *arguments) as server:
        assert server.client.get("/models").json()["models"][0]["provider"] == "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("settings", "arguments", "told"),
    [
        ({"STELLAR_MAX_BATCH": "none"}, [], "max_batch: Input should be a valid integer"),
        ({}, ["--max-queue", "0"], "max_queue: Input should be greater than or equal to 1"),
        ({"STELLAR_GRPC_PORT": "8765"}, ["--port", "8765"], "grpc_port: Value error, expected another port"),
        ({"STELLAR_API_KEYS": " , "}, [], "api_keys: expected at least one key"),
    ],
)
def test_a_bad_setting_stops_the_start(
    tmp_path: Path, settings: dict[str, str], arguments: list[str], told: str
) -> None:
    with Server(tmp_path / "log", settings, *arguments) as server:
        assert server.process.wait(30) == 2
        assert told in server.log
        assert "Traceback" not in server.log


def test_live_answers_while_models_load(tmp_path: Path) -> None:
    write_toy(tmp_path / "models" / "toy", darkest=255)  # slow to load
    with Server(tmp_path / "log", {}, "--models", str(tmp_path / "models")) as server:
        server.wait_until(lambda: server.answers("/healthz/live", 200))
        detail = server.client.get("/healthz/ready").json()["detail"]
        assert re.fullmatch(r"(the models are|toy is) loading, for \d+ s so far", detail)
        server.wait_until(lambda: server.answers("/healthz/ready", 200))


def test_a_slash_at_the_end_leads_nowhere(client: httpx.Client) -> None:
    """Least of all to the host that the request names."""
    for path in ("/embed/", "/models/", "/tokens/"):
        answer = client.post(path, headers={"host": "elsewhere.example"})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_endless_accept_headers_are_refused(client: httpx.Client, photo: bytes) -> None:
    """What is accepted is kept, and takes long to read."""
    answer = client.post("/embed", files={"image": photo}, headers={"accept": "application/json," * 1000})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
    assert answer.json()["detail"] == "Accept: expected at most 4096 characters, got 17000."


def test_control_characters_of_a_path_do_not_reach_the_terminal(tmp_path: Path, toy_models: Path) -> None:
    settings = {"STELLAR_LOG_FORMAT": "console"}
    with running(tmp_path / "log", settings, "--models", str(toy_models)) as server:
        server.client.get("/%1b%5b2J%0aforged%c2%9b1m%e2%80%ae")
        server.wait_until(lambda: r"/\x1b[2J\nforged\x9b1m\u202e" in server.log)
        for control in ("\x1b[2J", "\nforged", "\x9b", "\u202e"):
            assert control not in server.log

"""A request's trace, as a collector gets it from real processes."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.service.fleet.cluster import cluster_of, free_port, wait_until
from tests.service.photos import plain
from tests.service.server import Server, running

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = (f"00-{TRACE}-{CALLER}-{flags}" for flags in ("01", "00"))
OPEN_METRICS = {"accept": "application/openmetrics-text; version=1.0.0"}


class Recorded(NamedTuple):
    """A span, and the service that sent it."""

    service: str
    span: Span


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP and keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.spans: list[Recorded] = []
        self.settings = {
            "STELLAR_TRACING": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    def named(self, trace: str = TRACE) -> list[tuple[str, str]]:
        """Services and names of a trace's spans."""
        return sorted((each.service, each.span.name) for each in self.spans if of(each) == trace)


class _Take(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
        for each in request.resource_spans:
            about = {pair.key: pair.value.string_value for pair in each.resource.attributes}
            spans = [span for scope in each.scope_spans for span in scope.spans]
            self.server.spans += [Recorded(about["service.name"], span) for span in spans]
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.end_headers()
        self.wfile.write(ExportTraceServiceResponse().SerializeToString())

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def of(recorded: Recorded) -> str:
    return recorded.span.trace_id.hex()


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as started:
        threading.Thread(target=started.serve_forever, daemon=True).start()
        yield started
        started.shutdown()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as started:
        yield started


def reconstruct(server: Server, traceparent: str = SAMPLED) -> None:
    answer = httpx.post(
        f"{server.url}/reconstruct",
        files={"image": plain(9)},
        headers={"traceparent": traceparent, "x-request-id": "traced"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text


def exemplars(url: str, metric: str) -> set[str]:
    """Traces that a histogram names."""
    text = httpx.get(f"{url}/metrics", headers=OPEN_METRICS).text
    return set(re.findall(rf'^{metric}\S* \S+ # {{trace_id="(\w+)"}}', text, re.MULTILINE))


def test_one_trace_from_http_through_redis_to_inference(
    tmp_path: Path, toy_models: Path, collector: Collector
) -> None:
    with cluster_of(tmp_path, toy_models) as cluster:
        cluster.settings |= collector.settings
        worker = cluster.worker()
        server = cluster.ready()
        reconstruct(server)
        wait_until(lambda: len(collector.named()) == 7)
        assert collector.named() == [
            ("stellar-api", "POST /reconstruct"),
            ("stellar-api", "decode"),
            ("stellar-api", "respond"),
            *[("stellar-worker", "inference")] * 2,
            *[("stellar-worker", "queue")] * 2,
        ]
        spans = [each.span for each in collector.spans if of(each) == TRACE]
        [http] = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
        assert http.parent_span_id.hex() == CALLER
        for span in spans:
            if span is not http:
                assert span.parent_span_id == http.span_id
                assert http.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        runs = [span for span in spans if span.name == "inference"]
        known = [{pair.key: pair.value for pair in span.attributes} for span in runs]
        assert {each["stellar.stage"].string_value for each in known} == {"encode", "decode"}
        assert {each["stellar.batch_size"].int_value for each in known} == {1}
        [line] = [each for each in server.logged("request") if each["request_id"] == "traced"]
        assert line["trace_id"] == TRACE
        assert TRACE in exemplars(server.url, "stellar_request_duration_seconds_bucket")
        worked = exemplars(f"http://127.0.0.1:{worker.port}", "stellar_stage_duration_seconds_bucket")
        assert worked == {TRACE}
        assert {each.span.name for each in collector.spans if "healthz" in each.span.name} == set()


def test_local_batching_is_traced_too_but_only_what_is_sampled(
    tmp_path: Path, toy_models: Path, collector: Collector
) -> None:
    with running(tmp_path / "log", collector.settings, "--models", str(toy_models)) as server:
        reconstruct(server, UNSAMPLED)
        reconstruct(server, SAMPLED)
        assert server.stop() == 0  # what is left is sent at the end
        names = [name for _, name in collector.named()]
        stages = ["decode", "inference", "inference", "queue", "queue", "respond"]
        assert names == ["POST /reconstruct", *stages]
        assert [line.get("trace_id") for line in server.logged("request") if line["status"] == 200] == [
            None,
            TRACE,
        ]


def test_grpc_is_traced_as_http_is(tmp_path: Path, toy_models: Path, collector: Collector) -> None:
    arguments = ("--models", str(toy_models), "--grpc-port", str(port := free_port()))
    with running(tmp_path / "log", collector.settings, *arguments) as server:
        with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
            image = triton.InferInput("image", [1], "BYTES").set_data_from_numpy(np.array([plain(9)], object))
            for place in (UNSAMPLED, SAMPLED):
                client.infer("embed", [image], headers={"traceparent": place})
            client.is_server_live()
            with pytest.raises(triton.InferenceServerException, match="nothing"):
                client.infer("nothing", [image], headers={"traceparent": SAMPLED})
        assert exemplars(server.url, "stellar_request_duration_seconds_bucket") == {TRACE}
        assert server.stop() == 0
        call = "inference.GRPCInferenceService/ModelInfer"
        assert [name for _, name in collector.named()] == sorted(
            ["decode", "inference", "queue", "respond", call, call]
        )
        calls = [each.span for each in collector.spans if each.span.name == call]
        assert {span.parent_span_id.hex() for span in calls} == {CALLER}
        known = [{pair.key: pair.value for pair in span.attributes} for span in calls]
        assert [each["rpc.grpc.status_code"].int_value for each in known] == [0, 5]  # OK, NOT_FOUND
        lines = [line for line in server.logged("request") if line["method"] == "gRPC"]
        assert [line.get("trace_id") for line in lines if "ModelInfer" in line["path"]] == [
            None,
            TRACE,
            TRACE,
        ]


def test_collector_that_is_away_harms_nobody(tmp_path: Path, toy_models: Path, collector: Collector) -> None:
    away = collector.settings | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    with running(tmp_path / "log", away, "--models", str(toy_models)) as server:
        reconstruct(server)
        assert server.stop() == 0


def test_tracing_without_its_extra_stops_the_start_with_what_to_do(tmp_path: Path, toy_models: Path) -> None:
    (tmp_path / "opentelemetry" / "sdk").mkdir(parents=True)
    (tmp_path / "opentelemetry" / "sdk" / "__init__.py").write_text("raise ImportError\n")
    without = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())])}
    with Server(tmp_path / "log", without | {"STELLAR_TRACING": "true"}) as server:
        assert server.process.wait(30) == 2
        assert "error: tracing: its extra is not installed: pip install 'stellar-service[otel]'" in server.log
    with running(tmp_path / "log", without, "--models", str(toy_models)) as server:
        reconstruct(server)
        assert exemplars(server.url, "stellar") == set()

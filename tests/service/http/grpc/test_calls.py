"""What surrounds a call: keys, errors, ids, metrics, limits of time, health, reflection, the end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from service.http.grpc import protocol
from service.http.grpc.protocol import SERVICE
from tests.service.http.grpc.conftest import GRPC
from tests.service.http.grpc.wire import channel, infer, method, pixels, port, refused, written
from tests.service.server import Server, running

SLOW = 100
"""A level of grey over which the toy thinks for some tenths of a second."""
ROUTE = f"/{SERVICE}/ModelInfer"
ASKING = {
    "ServerMetadata": protocol.ServerMetadataResponse,
    "ModelMetadata": protocol.ModelMetadataResponse,
    "ModelReady": protocol.ModelReadyResponse,
    "ModelInfer": protocol.ModelInferResponse,
}


def status_of(opened: grpc.Channel, service: str = "") -> str:
    answer = health_pb2_grpc.HealthStub(opened).Check(health_pb2.HealthCheckRequest(service=service))
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, toy_models: Path) -> Iterator[Server]:
    """Six places for what comes slowly, and five seconds for it."""
    settings = GRPC | {
        "STELLAR_API_KEYS": "sesame,other",
        "STELLAR_REQUEST_TIMEOUT_S": "5",
        "STELLAR_MAX_BODY_BYTES": "100000",
        "STELLAR_BODY_MEMORY": "300000",
    }
    with running(tmp_path_factory.mktemp("keyed") / "log", settings, "--models", str(toy_models)) as server:
        yield server


def test_keys_stand_in_either_entry_of_the_metadata(keyed: Server) -> None:
    with channel(keyed) as opened:
        for metadata in (
            [("authorization", "Bearer sesame")],
            [("authorization", "bearer other")],
            [("x-api-key", "sesame")],
        ):
            assert infer(opened)(pixels(0), metadata=metadata).model_name == "encoder"
        for wrong in ([], [("authorization", "Bearer simsala")], [("x-api-key", "")]):
            for name, answer in ASKING.items():
                status, code, _ = refused(method(opened, name, answer), b"", metadata=wrong)
                assert (status, code) == (grpc.StatusCode.UNAUTHENTICATED, "unauthorized")


def test_probes_ask_for_no_key_and_reflection_does(keyed: Server) -> None:
    with channel(keyed) as opened:
        assert method(opened, "ServerLive", protocol.ServerLiveResponse)(b"").live
        assert method(opened, "ServerReady", protocol.ServerReadyResponse)(b"").ready
        assert [status_of(opened, service) for service in ("", SERVICE)] == ["SERVING"] * 2
        with pytest.raises(grpc.RpcError) as caught:
            list(ProtoReflectionDescriptorDatabase(opened).get_services())
        assert "UNAUTHENTICATED" in str(caught.value)


def test_messages_of_callers_without_a_key_are_not_read(keyed: Server) -> None:
    """They would be too long."""
    with channel(keyed) as opened:
        assert refused(infer(opened), bytes(1_000_000))[1] == "unauthorized"


def test_health_knows_the_services(toy_channel: grpc.Channel) -> None:
    assert refused(status_of, toy_channel, "other")[:2] == (grpc.StatusCode.NOT_FOUND, "unknown_model")
    watch = health_pb2_grpc.HealthStub(toy_channel).Watch(health_pb2.HealthCheckRequest(service="other"))
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_reflection_tells_the_service_and_its_messages(toy_channel: grpc.Channel) -> None:
    known = ProtoReflectionDescriptorDatabase(toy_channel)
    assert set(known.get_services()) == {SERVICE, "grpc.health.v1.Health"}
    file = known.FindFileContainingSymbol(SERVICE)
    assert [each.name for each in file.service] == ["GRPCInferenceService"]
    assert known.FindFileContainingSymbol("grpc.health.v1.Health").package == "grpc.health.v1"


def test_answers_and_errors_carry_what_http_s_do(toy: Server, toy_channel: grpc.Channel) -> None:
    _, call = infer(toy_channel).with_call(pixels(0), metadata=[("x-request-id", "mine")])
    beside = dict(call.trailing_metadata())
    over = toy.client.post("/embed", files={"image": b"no picture"})
    assert beside["x-request-id"] == "mine"
    assert beside["x-stellar-model"] == toy.client.get("/models").json()["models"][0]["id"]
    assert {"x-stellar-precision", "x-stellar-provider", "server-timing"} <= set(beside)
    with pytest.raises(grpc.RpcError) as caught:
        infer(toy_channel)(pixels(*[0] * 33), metadata=[("x-request-id", "two words")])
    told = dict(caught.value.trailing_metadata())
    assert told["x-stellar-code"] == "too_many_images"
    assert len(told["x-request-id"]) == len(over.headers["x-request-id"])


def test_calls_are_logged_and_counted_as_requests_and_probes_are_not(
    toy: Server, toy_channel: grpc.Channel
) -> None:
    infer(toy_channel)(pixels(0), metadata=[("x-request-id", "logged")])
    refused(infer(toy_channel), b"", metadata=[("x-request-id", "refused")])
    status_of(toy_channel)
    lines = {line["request_id"]: line for line in toy.logged("request") if line["method"] == "gRPC"}
    told = [(lines[name]["path"], lines[name]["status"]) for name in ("logged", "refused")]
    assert told == [(ROUTE, 200), (ROUTE, 404)]
    assert toy.metric(f'stellar_requests_total{{route="{ROUTE}",status="200"}}') >= 1
    assert toy.metric(f'stellar_requests_total{{route="{ROUTE}",status="404"}}') >= 1
    assert toy.metric('stellar_rejected_total{reason="unknown_model"}') >= 1
    assert "Health" not in toy.client.get("/metrics").text


def images(server: Server) -> float:
    return server.metric('stellar_images_total{model="toy",stage="encode"}')


def test_pictures_of_a_call_that_is_cancelled_are_not_worked_on(
    toy: Server, toy_channel: grpc.Channel
) -> None:
    before = images(toy)
    call = infer(toy_channel).future(pixels(*[SLOW] * 8), metadata=[("x-request-id", "cancelled")])
    toy.wait_until(lambda: images(toy) > before)
    call.cancel()
    infer(toy_channel)(pixels(0))  # behind what is left
    assert images(toy) < before + 8
    assert toy.metric(f'stellar_requests_total{{route="{ROUTE}",status="499"}}') >= 1


def test_deadline_of_the_client_ends_the_work(toy: Server, toy_channel: grpc.Channel) -> None:
    before = images(toy)
    status, _, _ = refused(infer(toy_channel), pixels(*[SLOW] * 8), timeout=0.5)
    assert status == grpc.StatusCode.DEADLINE_EXCEEDED
    infer(toy_channel)(pixels(0))
    assert images(toy) < before + 8
    assert toy.metric(f'stellar_requests_total{{route="{ROUTE}",status="504"}}') >= 1


def held_up(opened: grpc.Channel, until: threading.Event, **options: Any) -> Any:
    """A call whose message does not come before something happens."""

    def message() -> Iterator[bytes]:
        until.wait(60)
        yield written(pixels(0))

    answer = protocol.ModelInferResponse.FromString
    return opened.stream_unary(ROUTE, response_deserializer=answer).future(message(), **options)


def test_messages_that_do_not_come_take_places_and_end(keyed: Server) -> None:
    """Of six places a client gets three; those who send at once need none."""
    with ExitStack() as stack:
        opened = [stack.enter_context(channel(keyed)) for _ in range(5)]
        never = threading.Event()
        stack.callback(never.set)
        calls = [
            held_up(each, never, metadata=[("x-api-key", key)])
            for each, key in zip(opened, (*["sesame"] * 4, "other"), strict=True)
        ]
        answer = infer(opened[0])(pixels(0), metadata=[("x-api-key", "sesame")])
        assert answer.model_name == "encoder"
        errors = [call.exception() for call in calls]
    codes = [dict(error.trailing_metadata())["x-stellar-code"] for error in errors]
    assert sorted(codes) == [*["request_timeout"] * 4, "too_busy"]
    assert codes[4] == "request_timeout"


def test_full_queue_is_told_with_when_to_come_again(tmp_path: Path, toy_models: Path) -> None:
    settings = GRPC | {"STELLAR_MAX_QUEUE": "1"}
    with (
        running(tmp_path / "log", settings, "--models", str(toy_models)) as server,
        channel(server) as opened,
    ):
        before = [infer(opened).future(pixels(SLOW)) for _ in range(4)]
        errors = [error for call in before if (error := call.exception())]
        assert errors
        for error in errors:
            told = dict(error.trailing_metadata())
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            assert (told["x-stellar-code"], told["grpc-retry-pushback-ms"]) == ("queue_full", "1000")


def test_end_lets_calls_finish_and_refuses_new_ones(tmp_path: Path, toy_models: Path) -> None:
    with running(tmp_path / "log", GRPC, "--models", str(toy_models)) as server, channel(server) as opened:
        watch = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest())
        states = [next(watch).status]
        until = threading.Event()
        begun = held_up(opened, until)
        infer(opened)(pixels(0))  # on the same connection: what was begun before is at work
        server.send(signal.SIGTERM)
        states.append(next(watch).status)
        status, code, _ = refused(infer(opened), pixels(0))
        assert (status, code) == (grpc.StatusCode.UNAVAILABLE, "not_ready")
        assert status_of(opened) == "NOT_SERVING"
        assert not method(opened, "ServerReady", protocol.ServerReadyResponse)(b"").ready
        until.set()
        assert len(begun.result().outputs) == 3
        assert server.process.wait(30) == 0
        assert states == [1, 2]  # SERVING, NOT_SERVING


def test_calls_that_take_longer_than_the_end_are_told_so(tmp_path: Path, toy_models: Path) -> None:
    settings = GRPC | {"STELLAR_SHUTDOWN_GRACE_S": "1"}
    with (
        running(tmp_path / "log", settings, "--models", str(toy_models)) as server,
        channel(server) as opened,
    ):
        server.expect("Cancel 0 running task(s), timeout graceful shutdown exceeded")  # uvicorn's
        until = threading.Event()
        begun = held_up(opened, until)
        infer(opened)(pixels(0))
        server.send(signal.SIGTERM)
        error = begun.exception()
        until.set()
        told = "The service stopped before it was done."
        assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, told)
        assert server.process.wait(30) == 0


def test_health_says_no_while_nothing_can_be_served(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with Server(tmp_path / "log", GRPC, "--models", str(tmp_path / "models")) as server:
        server.expect("models_failed")
        server.wait_until(lambda: server.answers("/v2/health/live", 200))
        with channel(server) as opened:
            assert method(opened, "ServerLive", protocol.ServerLiveResponse)(b"").live
            assert status_of(opened) == "NOT_SERVING"
            assert refused(infer(opened), pixels(0))[1] == "not_ready"


def test_silent_connections_end(tmp_path: Path, toy_models: Path) -> None:
    """And keep nobody out for longer than a head may take."""
    settings = GRPC | {"STELLAR_MAX_CONNECTIONS": "4", "STELLAR_HEADER_TIMEOUT_S": "0.5"}
    with running(tmp_path / "log", settings, "--models", str(toy_models)) as server, ExitStack() as stack:
        address = ("127.0.0.1", port(server))
        silent = [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(8)]
        for each in silent:
            while each.recv(1000):  # its settings
                pass
        with channel(server) as opened:
            assert infer(opened)(pixels(0), wait_for_ready=True).model_name == "encoder"


def test_several_processes_share_the_port(tmp_path: Path, toy_models: Path) -> None:
    arguments = ("--models", str(toy_models), "--processes", "2")
    with running(tmp_path / "log", GRPC, *arguments) as server:
        server.wait_until(lambda: len(server.logged("grpc_listening")) == 2)
        assert len({each["port"] for each in server.logged("grpc_listening")}) == 1
        answered = set()
        for _ in range(40):
            with channel(server) as opened:
                infer(opened)(pixels(0), timeout=30, wait_for_ready=True)
            answered = {each["process"] for each in server.logged("request") if each["path"] == ROUTE}
            if len(answered) == 2:
                break
        assert answered == {"api-0", "api-1"}


@pytest.mark.parametrize("processes", ["1", "2"])
def test_port_that_is_taken_stops_the_start(both: Server, tmp_path: Path, processes: str) -> None:
    settings = {"STELLAR_GRPC_PORT": str(port(both))}
    with Server(tmp_path / "log", settings, "--processes", processes) as server:
        server.expect("port_unavailable")
        assert server.process.wait(30) == 1
        assert len(server.logged("port_unavailable")) == 1


@pytest.mark.parametrize("processes", ["1", "2"])
def test_missing_extra_is_named(processes: str) -> None:
    without = "import sys; sys.modules['grpc'] = None; from service.cli import app; app()"
    command = [
        sys.executable,
        "-c",
        without,
        "serve",
        "--grpc-port",
        "0",
        "--port",
        "0",
        "--processes",
        processes,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    told = "error: grpc_port: its extra is not installed: pip install 'stellar-service[grpc]'\n"
    assert (done.returncode, done.stderr) == (2, told)


def test_service_without_the_port_does_not_load_grpc(tmp_path: Path, toy_models: Path) -> None:
    with running(tmp_path / "log", {}, "--models", str(toy_models)) as server:
        assert "cygrpc" not in Path(f"/proc/{server.process.pid}/maps").read_text()

"""Many requests on one call: in their order, with their own errors, so many at a time."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferResult

from service.http.grpc import protocol
from service.http.grpc.protocol import SERVICE
from tests.service.http.grpc.conftest import GRPC
from tests.service.http.grpc.test_calls import SLOW, images
from tests.service.http.grpc.wire import channel, infer, pixels, port, refused, written
from tests.service.server import Server, running

ROUTE = f"/{SERVICE}/ModelStreamInfer"


def stream(opened: grpc.Channel, requests: Iterable[Any], **options: Any) -> Any:
    """A call with these requests."""
    answer = protocol.ModelStreamInferResponse.FromString
    call = opened.stream_stream(ROUTE, request_serializer=written, response_deserializer=answer)
    return call(iter(requests), **options)


def named(name: str, *levels: int) -> Any:
    request = pixels(*levels)
    request.id = name
    return request


def test_triton_s_client_gets_every_answer_in_order(both: Server, photo: bytes, other_photo: bytes) -> None:
    answers: Queue[tuple[InferResult | None, Exception | None]] = Queue()
    photos = [photo, other_photo, photo[:1000], other_photo] * 10
    with InferenceServerClient(f"127.0.0.1:{port(both)}") as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for i, each in enumerate(photos):
            image = InferInput("image", [1], "BYTES").set_data_from_numpy(np.array([each], object))
            client.async_stream_infer("embed", [image], request_id=str(i))
        got = [answers.get(timeout=60) for _ in photos]
        client.stop_stream()
    expected = both.embedded(photo, other_photo)
    for i, (result, error) in enumerate(got):
        if i % 4 == 2:
            assert "truncated" in str(error)
            continue
        assert result is not None
        assert result.get_response().id == str(i)
        np.testing.assert_allclose(result.as_numpy("embedding")[0], expected[i % 4 > 0], atol=1e-5)


def test_answers_keep_the_order_of_slow_and_fast_requests(toy_channel: grpc.Channel) -> None:
    requests = [named("slow", SLOW), named("fast", 0), named("bad"), named("last", 0, 0)]
    answers = list(stream(toy_channel, requests))
    assert [each.infer_response.id for each in answers] == ["slow", "fast", "bad", "last"]
    assert [bool(each.error_message) for each in answers] == [False, False, True, False]
    assert answers[2].infer_response.parameters["code"].string_param == "bad_tensor"
    assert list(answers[3].infer_response.outputs[0].shape) == [2, 3, 4]
    alone = infer(toy_channel)(requests[3])
    assert answers[3].infer_response.SerializeToString() == alone.SerializeToString()


def test_what_is_no_request_has_its_own_error_too(toy_channel: grpc.Channel) -> None:
    first, second = stream(toy_channel, [b"\xff" * 9, named("second", 0)])
    assert "no ModelInferRequest" in first.error_message
    assert second.infer_response.id == "second"


def test_requests_wait_for_each_other_and_are_not_refused(tmp_path: Path, toy_models: Path) -> None:
    """They are more than the queue takes; others are refused meanwhile."""
    settings = GRPC | {"STELLAR_MAX_QUEUE": "1"}
    with (
        running(tmp_path / "log", settings, "--models", str(toy_models)) as server,
        channel(server) as opened,
    ):
        answers = list(stream(opened, [named(str(i), SLOW) for i in range(4)]))
        assert [each.infer_response.id for each in answers] == [str(i) for i in range(4)]
        assert [each.error_message for each in answers] == [""] * 4


def test_each_request_is_logged_and_counted(toy: Server, toy_channel: grpc.Channel) -> None:
    def counted(status: int) -> float:
        return toy.metric(f'stellar_requests_total{{route="{ROUTE}",status="{status}"}}')

    before = counted(200), counted(400)
    list(stream(toy_channel, [named("a", 0), named("b", 0), named("c")]))
    assert (counted(200), counted(400)) == (before[0] + 2, before[1] + 1)
    lines = [line for line in toy.logged("request") if line["path"] == ROUTE]
    assert len({line["request_id"] for line in lines}) == len(lines) >= 3


def test_pictures_of_a_stream_that_is_cancelled_are_not_worked_on(
    toy: Server, toy_channel: grpc.Channel
) -> None:
    before = images(toy)
    call = stream(toy_channel, [named(str(i), SLOW) for i in range(8)])
    next(call)
    call.cancel()
    infer(toy_channel)(pixels(0))
    assert images(toy) < before + 8
    toy.wait_until(lambda: toy.answers("/healthz/ready", 200))


def test_streams_are_as_many_as_there_is_memory_for_the_longest_messages(
    tmp_path: Path, toy_models: Path
) -> None:
    """Six, of which a client has three."""
    settings = GRPC | {"STELLAR_BODY_MEMORY": "400000"}
    with (
        running(tmp_path / "log", settings, "--models", str(toy_models)) as server,
        channel(server) as opened,
    ):
        until = threading.Event()
        calls = [stream(opened, first_and_later(until)) for _ in range(3)]
        assert [next(call).infer_response.id for call in calls] == ["first"] * 3
        status, code, _ = refused(list, stream(opened, [named("fourth", 0)]))
        assert (status, code) == (grpc.StatusCode.UNAVAILABLE, "too_busy")
        until.set()
        assert [next(call).infer_response.id for call in calls] == ["later"] * 3


def first_and_later(until: threading.Event) -> Iterator[Any]:
    yield named("first", 0)
    until.wait(60)
    yield named("later", 0)


def test_stream_at_rest_does_not_hold_up_the_end(tmp_path: Path, toy_models: Path) -> None:
    settings = GRPC | {"STELLAR_SHUTDOWN_GRACE_S": "600"}
    with (
        running(tmp_path / "log", settings, "--models", str(toy_models)) as server,
        channel(server) as opened,
    ):
        until = threading.Event()
        call = stream(opened, first_and_later(until))
        next(call)
        server.send(signal.SIGTERM)
        status, code, detail = refused(next, call)
        assert (status, code) == (grpc.StatusCode.UNAVAILABLE, "not_ready")
        assert detail == "The service stopped before it was done."
        assert server.process.wait(60) == 0
        until.set()


def test_request_of_a_stream_that_is_at_work_is_answered_at_the_end(tmp_path: Path, toy_models: Path) -> None:
    with running(tmp_path / "log", GRPC, "--models", str(toy_models)) as server, channel(server) as opened:
        call = stream(opened, [named("whole", *[SLOW] * 3)])
        server.wait_until(lambda: images(server) > 0)
        server.send(signal.SIGTERM)
        assert list(next(call).infer_response.outputs[0].shape) == [3, 3, 4]
        assert server.process.wait(60) == 0

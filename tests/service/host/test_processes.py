"""One service by several processes: it is as one process is, and loses no more than what dies had."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_metrics

from tests.service.fleet.cluster import cluster_of, wait_until
from tests.service.host.clients import APIS, clients_of, embed, is_ready, kill, left, pid_of
from tests.service.photos import plain
from tests.service.server import Server, running
from tests.service.toy import toy_version, write_toy

pytestmark = pytest.mark.long

SLOWEST, SLOW, QUICK = plain(255), plain(100), plain(0)
FORMS = (("/embed", "application/x-npy"), ("/tokens", "application/json"), ("/reconstruct", "image/png"))
TWO = {"STELLAR_PROCESSES": "2"}
OLD, NEW = toy_version(1), toy_version(2)
ENCODED = 'stellar_images_total{model="toy",stage="encode"}'
DEPTH = 'stellar_queue_depth{model="toy",stage="encode"}'


@contextmanager
def at_work(server: Server) -> Iterator[None]:
    """What is asked for within is being run after it."""
    before = server.metric(ENCODED)
    yield
    server.wait_until(lambda: server.metric(ENCODED) > before)


@contextmanager
def started_by(folder: Path, **settings: str) -> Iterator[Server]:
    """Two API processes and an engine, with a models' folder of their own in `folder`."""
    write_toy(folder / "models/toy", seed=1)
    with running(folder / "log", TWO | settings, "--models", str(folder / "models")) as server:
        yield server


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """For a test that ends it."""
    with started_by(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """For tests after which it serves as before, whatever they have killed; one that hangs is ended soon."""
    with started_by(tmp_path_factory.mktemp("shared"), STELLAR_REQUEST_TIMEOUT_S="15") as server:
        yield server


def test_answers_are_those_of_one_process_to_the_bit(
    server: Server, photo: bytes, other_photo: bytes, tmp_path: Path
) -> None:
    with running(tmp_path / "two", TWO) as two, clients_of(two) as clients:
        for (route, accept), image in product(FORMS, (photo, other_photo)):
            alone, *together = (
                client.post(route, files={"image": image}, headers={"accept": accept})
                for client in (server.client, *clients.values())
            )
            assert alone.status_code == 200
            assert [answer.content for answer in together] == [alone.content] * 2
        assert two.client.get("/models").json() == server.client.get("/models").json()


def test_process_that_dies_is_replaced_and_loses_its_own_requests_only(shared: Server) -> None:
    server = shared
    starts, deaths = (len(server.logged(event)) for event in ("process_started", "process_died"))
    with ThreadPoolExecutor() as pool, clients_of(server) as clients:
        with at_work(server):
            answers = {name: pool.submit(embed, client, SLOW, SLOW) for name, client in clients.items()}
        counted = server.metric('stellar_requests_total{route="/models",status="200"}')
        kill(server, "api-0")
        with pytest.raises(httpx.TransportError):
            answers["api-0"].result()
        assert ["embedding" in item for item in answers["api-1"].result().json()["data"]] == [True] * 2
        assert embed(clients["api-1"], QUICK).status_code == 200
    server.wait_until(lambda: len(server.logged("process_started")) == starts + 1)
    [died] = server.logged("process_died")[deaths:]
    assert (died["died"], died["code"]) == ("api-0", -signal.SIGKILL)
    with clients_of(server) as clients:
        assert embed(clients["api-0"], QUICK).status_code == 200
        assert server.metric('stellar_requests_total{route="/models",status="200"}') >= counted


def test_process_that_hangs_is_ended_and_replaced(shared: Server) -> None:
    server = shared
    starts = len(server.logged("process_started"))
    server.expect("process_hung", "process_died")
    with clients_of(server):  # both serve
        os.kill(pid_of(server, "api-0"), signal.SIGSTOP)
    server.wait_until(lambda: len(server.logged("process_started")) == starts + 1)
    assert [line["hung"] for line in server.logged("process_hung")] == ["api-0"]
    with clients_of(server) as clients:
        assert embed(clients["api-0"], QUICK).status_code == 200


def test_process_that_cannot_be_started_again_is_tried_again(shared: Server) -> None:
    server = shared
    files = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    with clients_of(server):
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (0, files[1]))
        kill(server, "api-0")
        server.expect("start_failed")
        server.wait_until(lambda: server.logged("start_failed") != [])
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, files)
    with clients_of(server) as clients:
        assert embed(clients["api-0"], QUICK).status_code == 200


def test_engine_that_dies_is_told_and_replaced(shared: Server) -> None:
    server = shared
    with ThreadPoolExecutor() as pool, clients_of(server) as clients:
        before = embed(clients["api-0"], QUICK).json()
        answers = [pool.submit(embed, client, SLOW) for client in clients.values()]
        server.wait_until(lambda: server.metric(DEPTH) > 0)
        counted = server.metric(ENCODED)
        kill(server, "engine")
        for answer in answers:
            told = answer.result()
            assert (told.status_code, told.json()["code"]) == (503, "engine_unavailable")
            assert told.headers["retry-after"] == "1"
        for client in clients.values():
            ready = client.get("/healthz/ready")
            assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
        for client in clients.values():
            server.wait_until(partial(is_ready, client))
            assert embed(client, QUICK).json() == before
        assert server.metric(ENCODED) >= counted


def test_changed_folder_is_taken_in_once_for_all(shared: Server) -> None:
    """What is in flight is finished by the version that it began with."""
    server, folder = shared, shared.log_path.parent / "models/toy"
    served = len(server.logged("models_served"))
    with ThreadPoolExecutor() as pool, clients_of(server) as clients, clients_of(server) as others:
        with at_work(server):
            old = [pool.submit(embed, client, SLOW, SLOW) for client in clients.values()]
        shutil.rmtree(folder)
        write_toy(folder, seed=2)
        server.send(signal.SIGHUP)
        server.wait_until(lambda: len(server.logged("models_served")) == served + 1)
        for client in others.values():
            assert embed(client, QUICK).json()["model"] == f"toy@{NEW}"
        for answer in old:
            assert answer.result().json()["model"] == f"toy@{OLD}"
            assert all("embedding" in item for item in answer.result().json()["data"])
    server.wait_until(lambda: [line["model"] for line in server.logged("model_closed")] == [f"toy@{OLD}"])
    assert {line["process"] for line in server.logged("models_served")} == {"engine"}


def test_sigterm_lets_all_finish_and_nobody_stays(own: Server) -> None:
    with ThreadPoolExecutor() as pool, clients_of(own) as clients:
        with at_work(own):
            old = [pool.submit(embed, client, SLOW, SLOW) for client in clients.values()]
        assert own.stop() == 0
        for answer in old:
            assert ["embedding" in item for item in answer.result().json()["data"]] == [True] * 2
    assert left(own) == []


def test_second_signal_ends_at_once(own: Server) -> None:
    with ThreadPoolExecutor() as pool, clients_of(own) as clients:
        with at_work(own):
            old = pool.submit(embed, clients["api-0"], *[SLOWEST] * 16)
        own.send(signal.SIGTERM)
        own.wait_until(lambda: [line["process"] for line in own.logged("stopped")] == ["api-1"])
        assert own.stop() == 0
        with pytest.raises(httpx.TransportError):
            old.result()
    assert left(own) == []


def test_nobody_stays_when_the_supervisor_is_killed(own: Server) -> None:
    own.kill()
    wait_until(lambda: left(own) == [])


def samples_of(told: str) -> dict[tuple[object, ...], float]:
    """The values of metrics by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in plain_metrics(told)
        for sample in family.samples
    }


def test_metrics_are_those_of_one_service(shared: Server) -> None:
    counted: tuple[tuple[object, ...], ...] = (
        ("stellar_requests_total", ("route", "/embed"), ("status", "200")),
        ("stellar_request_duration_seconds_count", ("route", "/embed")),
        ("stellar_request_duration_seconds_bucket", ("le", "+Inf"), ("route", "/embed")),
        ("stellar_stage_duration_seconds_count", ("stage", "transport")),
        ("stellar_images_total", ("model", "toy"), ("stage", "encode")),
    )
    with clients_of(shared) as clients:
        before = samples_of(shared.client.get("/metrics").text)
        for client in clients.values():
            for _ in range(3):
                assert embed(client, QUICK).status_code == 200
        for client in clients.values():
            values = samples_of(client.get("/metrics").text)
            assert [values[name] - before.get(name, 0) for name in counted] == [6] * len(counted)
            assert values["stellar_queue_depth", ("model", "toy"), ("stage", "encode")] == 0
            [info] = [value for key, value in values.items() if key[0] == "stellar_model_info"]
            assert info == 1
            opened = client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
            families = open_metrics(opened.text)  # type: ignore[no-untyped-call]
            assert "stellar_requests" in {family.name for family in families}


def test_the_line_is_bounded_for_all_together(toy_models: Path, tmp_path: Path) -> None:
    settings = TWO | {"STELLAR_MAX_QUEUE": "2"}
    with (
        running(tmp_path / "log", settings, "--models", str(toy_models)) as server,
        ThreadPoolExecutor() as pool,
        clients_of(server) as clients,
        clients_of(server) as others,
    ):
        old = [pool.submit(embed, clients[name], SLOWEST) for name in APIS]
        server.wait_until(lambda: server.metric(DEPTH) == 1)
        old.append(pool.submit(embed, server.client, SLOWEST))
        server.wait_until(lambda: server.metric(DEPTH) == 2)
        for client in others.values():
            refused = embed(client, QUICK)
            assert (refused.status_code, refused.json()["code"]) == (503, "queue_full")
        assert [answer.result().status_code for answer in old] == [200] * 3


def test_taken_port_is_told(toy_models: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Server(tmp_path / "log", TWO, "--models", str(toy_models), port=port) as server:
            server.expect("port_unavailable")
            assert server.process.wait(60) == 1
            [line] = server.logged("port_unavailable")
            assert "in use" in line["reason"]
            assert left(server) == []


def test_port_is_one_services_from_its_beginning(toy_models: Path, tmp_path: Path) -> None:
    """Also while no process of the first one listens yet."""
    models = ("--models", str(toy_models))
    with Server(tmp_path / "first", TWO, *models) as first:
        first.wait_until(lambda: first.logged("listening") != [])
        with Server(tmp_path / "second", TWO, *models, port=first.port) as second:
            second.expect("port_unavailable")
            assert second.process.wait(60) == 1


def test_folder_whose_path_is_too_long_is_told(toy_models: Path, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    with Server(tmp_path / "log", TWO | {"TMPDIR": str(folder)}, "--models", str(toy_models)) as server:
        server.expect("folder_unavailable")
        assert server.process.wait(60) == 1
        assert "too long" in server.logged("folder_unavailable")[0]["reason"]
    assert not list(folder.glob("stellar-*"))


def test_settings_that_make_no_sense_are_told_once(tmp_path: Path) -> None:
    with Server(tmp_path / "log", TWO | {"STELLAR_API_KEYS": " "}) as server:
        assert server.process.wait(60) == 2
        assert server.log.splitlines() == ["error: api_keys: expected at least one key, got none"]


def test_with_redis_they_need_no_engine(toy_models: Path, tmp_path: Path) -> None:
    with cluster_of(tmp_path, toy_models, processes="2") as cluster:
        cluster.worker()
        api = cluster.ready()
        with clients_of(api) as clients:
            answers = [embed(client, QUICK).json() for client in clients.values()]
            assert answers[0] == answers[1]
            assert "embedding" in answers[0]["data"][0]
            assert api.metric('stellar_workers{model="toy"}') == 1
        assert {line["started"] for line in api.logged("process_started")} == set(APIS)

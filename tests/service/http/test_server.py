"""How the process ends, with work in flight and without."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.service.photos import plain
from tests.service.server import Server, running
from tests.service.toy import write_toy
from tests.service.wire import connect, post

SLOW, QUICK = plain(100), plain(0)
ENCODED = 'stellar_images_total{model="toy",stage="encode"}'


def embed(server: Server, *images: bytes) -> httpx.Response:
    return httpx.post(f"{server.url}/embed", files=[("image", image) for image in images], timeout=60)


def test_draining_refuses_new_work_and_finishes_the_old(toy_models: Path, tmp_path: Path) -> None:
    with (
        running(tmp_path / "log", {"STELLAR_MAX_BATCH": "1"}, "--models", str(toy_models)) as server,
        ThreadPoolExecutor() as pool,
    ):
        old = pool.submit(embed, server, SLOW, SLOW, SLOW)
        server.wait_until(lambda: server.metric(ENCODED) > 0)
        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: server.answers("/healthz/ready", 503))
        assert server.client.get("/healthz/ready").json()["detail"] == "the service is stopping"
        assert server.answers("/healthz/live", 200)
        refused = embed(server, QUICK)
        assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
        assert refused.headers["retry-after"] == "1"
        assert ["embedding" in item for item in old.result().json()["data"]] == [True] * 3
        assert server.process.wait(30) == 0


def test_grace_is_a_bound(toy_models: Path, tmp_path: Path) -> None:
    settings = {"STELLAR_MAX_BATCH": "1", "STELLAR_SHUTDOWN_GRACE_S": "0"}
    with (
        running(tmp_path / "log", settings, "--models", str(toy_models)) as server,
        ThreadPoolExecutor() as pool,
    ):
        server.expect("Cancel 1 running task(s), timeout graceful shutdown exceeded")
        old = pool.submit(embed, server, *[SLOW] * 8)
        server.wait_until(lambda: server.metric(ENCODED) > 0)
        assert server.stop() == 0
        cut = old.result()
        assert (cut.status_code, cut.json()["code"]) == (503, "not_ready")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_server_ends_with_0(toy_models: Path, tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path / "log", {}, "--models", str(toy_models)) as server:
        server.process.send_signal(number)
        assert server.process.wait(30) == 0
        assert "Traceback" not in server.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_ends_while_its_models_load(tmp_path: Path, number: signal.Signals) -> None:
    write_toy(tmp_path / "models" / "toy", darkest=255)
    with Server(tmp_path / "log", {}, "--models", str(tmp_path / "models")) as server:
        server.wait_until(lambda: server.answers("/healthz/ready", 503))
        server.process.send_signal(number)
        assert server.process.wait(30) == 0
        assert server.logged("stopped")
        assert not server.logged("model_ready")
        assert "Traceback" not in server.log


STUCK = """
import sys, time
from service.batching.pool import Pool
Pool.close = lambda self: time.sleep(600)
sys.argv[1:1] = ["serve"]
from service.cli import app
app()
"""


def test_thread_that_does_not_end_is_not_waited_for(toy_models: Path, tmp_path: Path) -> None:
    settings = {"STELLAR_SHUTDOWN_GRACE_S": "1"}
    command = ("-c", STUCK)
    with running(tmp_path / "log", settings, "--models", str(toy_models), command=command) as server:
        assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_at_once(toy_models: Path, tmp_path: Path, number: signal.Signals) -> None:
    settings = {"STELLAR_SHUTDOWN_GRACE_S": "600", "STELLAR_HEADER_TIMEOUT_S": "600"}
    with (
        running(tmp_path / "log", settings, "--models", str(toy_models)) as server,
        connect(server, post("/embed", 9, "expect: 100-continue")) as upload,
    ):
        assert upload.recv(12) == b"HTTP/1.1 100"  # it is at work
        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: server.answers("/healthz/ready", 503))
        server.process.send_signal(number)
        assert server.process.wait(30) == 0


def test_variable_that_sets_nothing_is_told(toy_models: Path, tmp_path: Path) -> None:
    with running(tmp_path / "log", {"STELLAR_MAX_QUEU": "9"}, "--models", str(toy_models)) as server:
        assert [line["variable"] for line in server.logged("unknown_setting")] == ["STELLAR_MAX_QUEU"]

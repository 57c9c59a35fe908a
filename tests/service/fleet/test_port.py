"""A worker's port answers probes, whatever else it is sent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from service.fleet.port import MAX_CONNECTIONS, MAX_HEAD_BYTES
from tests.service.fleet.cluster import WorkerProcess, wait_until
from tests.service.fleet.test_fleet import probe
from tests.service.toy import write_toy
from tests.service.wire import open_files, read

ASK = b"GET /healthz/live HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """One that waits for Redis, which is not there."""
    folder = tmp_path_factory.mktemp("worker")
    write_toy(folder / "models" / "toy")
    worker = WorkerProcess(folder / "log", {"STELLAR_MODELS_DIR": str(folder / "models")})
    wait_until(lambda: probe(worker, "live") is not None)
    yield worker
    worker.kill()


def connect(worker: WorkerProcess, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", worker.port), 60)
    connection.sendall(sent)
    return connection


@pytest.mark.parametrize("sent", [b"", ASK], ids=["silent", "slow"])
def test_probes_are_answered_beside_connections_that_say_nothing(worker: WorkerProcess, sent: bytes) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(connect(worker, sent)) for _ in range(4 * MAX_CONNECTIONS)]
        live = probe(worker, "live")
        assert live is not None
        assert (live.status_code, live.json()) == (200, {"status": "live"})
        wait_until(lambda: open_files(worker) < 3 * MAX_CONNECTIONS)
        assert len(list(Path(f"/proc/{worker.process.pid}/task").iterdir())) < MAX_CONNECTIONS
        assert read(held[-1]) == b""  # in the end they are closed


def test_head_that_is_too_long_is_not_read(worker: WorkerProcess) -> None:
    assert read(connect(worker, ASK + b"x: " + 2 * MAX_HEAD_BYTES * b"a")) == b""
    assert probe(worker, "live") is not None


def test_metrics_and_what_else_there_is(worker: WorkerProcess) -> None:
    url = f"http://127.0.0.1:{worker.port}"
    metrics = httpx.get(f"{url}/metrics?x")
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    assert "process_open_fds" in metrics.text
    openmetrics = httpx.get(f"{url}/metrics", headers={"accept": "application/openmetrics-text"})
    assert openmetrics.text.endswith("# EOF\n")
    head = httpx.head(f"{url}/healthz/live")
    assert (head.status_code, head.text) == (200, "")
    assert httpx.get(f"{url}/nope").status_code == 404
    assert httpx.post(f"{url}/metrics").status_code == 405

"""Work that takes long, that nobody waits for any more, or that fails: a model does so when asked to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.photos import plain
from tests.service.server import Server, running

BLACK, SLOW = plain(0), plain(255)
AT_WORK_S = 0.2
"""Processor time that nothing but a slow picture in the engine takes."""
ENCODED = 'stellar_images_total{model="toy",stage="encode"}'
DECODED = 'stellar_stage_duration_seconds_count{stage="decode"}'
WAITING = 'stellar_queue_depth{model="toy",stage="encode"}'
GONE = 'stellar_requests_total{route="/embed",status="499"}'
PATIENT = {"STELLAR_REQUEST_TIMEOUT_S": "900"}
"""Who waits for a slow picture on a busy machine is not to be told that it took too long."""


@pytest.fixture
def toy(tmp_path: Path, toy_models: Path) -> Iterator[Server]:
    """One image at a time, and two may wait."""
    arguments = ["--models", str(toy_models), "--max-queue", "2", "--threads", "1"]
    with running(tmp_path / "log", PATIENT, *arguments) as server:
        yield server


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def embed(server: Server, image: bytes) -> httpx.Response:
    return httpx.post(f"{server.url}/embed", files={"image": image}, timeout=None)


def busy(server: Server, pool: ThreadPoolExecutor) -> list[Future[httpx.Response]]:
    """Two requests: one that the engine is at work on, and one that waits."""
    idle_s = server.worked_s
    first = pool.submit(embed, server, SLOW)
    server.wait_until(lambda: server.worked_s > idle_s + AT_WORK_S)
    second = pool.submit(embed, server, SLOW)
    server.wait_until(lambda: server.metric(WAITING) == 1)
    return [first, second]


def full(server: Server, pool: ThreadPoolExecutor) -> list[Future[httpx.Response]]:
    """Three requests, of which two wait: all that a queue of two takes."""
    three = [*busy(server, pool), pool.submit(embed, server, SLOW)]
    server.wait_until(lambda: server.metric(WAITING) == 2)
    return three


def test_full_queue_is_told_at_once_and_what_waits_is_served(toy: Server, pool: ThreadPoolExecutor) -> None:
    three = full(toy, pool)
    fourth = embed(toy, BLACK)
    assert not any(each.done() for each in three[1:])
    assert (fourth.status_code, fourth.json()["code"]) == (503, "queue_full")
    assert int(fourth.headers["retry-after"]) >= 1
    assert [each.result().status_code for each in three] == [200, 200, 200]
    assert toy.metric(DECODED) == 3  # the fourth was refused before that
    assert toy.metric('stellar_rejected_total{reason="queue_full"}') == 1


def test_work_of_a_client_that_left_never_reaches_the_model(toy: Server, pool: ThreadPoolExecutor) -> None:
    both = busy(toy, pool)
    leaving = httpx.Client(base_url=toy.url, timeout=60)
    left = threading.Event()

    def leave() -> None:
        with pytest.raises(httpx.ReadTimeout):
            leaving.post("/embed", files={"image": BLACK}, timeout=httpx.Timeout(60, read=0.1))
        leaving.close()
        left.set()

    pool.submit(leave)
    toy.wait_until(lambda: toy.metric(GONE) == 1)
    assert left.wait(60)
    assert not all(each.done() for each in both)
    assert [each.result().status_code for each in both] == [200, 200]
    assert embed(toy, BLACK).status_code == 200
    assert toy.metric(ENCODED) == 3  # the first ones and the last
    assert toy.metric(DECODED) == 3


BUGGY = """
import sys
import uvicorn
from service.http.app import create_app
from service.watch.logs import configure_logs
from service.settings import Settings

configure_logs("info", "json")
app = create_app(Settings())

@app.get("/bug")
async def bug():
    raise RuntimeError("the password is swordfish")

uvicorn.run(app, port=int(sys.argv[2]), log_config=None, access_log=False)
"""


@pytest.fixture(scope="module")
def buggy(tmp_path_factory: pytest.TempPathFactory, toy_models: Path) -> Iterator[Server]:
    """The toy, and a route with a bug."""
    settings = {"STELLAR_MODELS_DIR": str(toy_models)}
    log = tmp_path_factory.mktemp("buggy") / "log"
    with running(log, settings, command=("-c", BUGGY)) as server:
        server.expect("batch_failed")
        yield server


def tokens(level: float, count: int = 1) -> dict[str, Any]:
    return {"semantics": [[[level] * 4] * 3] * count, "localization": [[[1, 0, 0]] * 4] * count}


def test_failing_model_is_an_internal_error_that_the_log_explains(buggy: Server) -> None:
    assert buggy.client.post("/reconstruct", json={"tokens": tokens(0.5)}).status_code == 200
    answer = buggy.client.post("/reconstruct", json={"tokens": tokens(2000)})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (500, "internal_error")
    assert "Gather" not in answer.text
    (line,) = buggy.logged("failed")
    assert line["request_id"] == problem["request_id"] == answer.headers["x-request-id"]
    (cause,) = buggy.logged("batch_failed")
    assert "Gather" in cause["exception"]
    assert cause["request_ids"] == [problem["request_id"]]


def test_only_the_item_that_breaks_the_model_fails(buggy: Server) -> None:
    mixed = tokens(0.5, 3)
    mixed["semantics"][1] = [[2000] * 4] * 3
    accept = {"accept": "application/json"}
    items = buggy.client.post("/reconstruct", json={"tokens": mixed}, headers=accept).json()["data"]
    assert [item.get("error", {}).get("code") for item in items] == [None, "internal_error", None]


def test_unexpected_error_tells_only_its_request_id_and_the_log_the_rest(buggy: Server) -> None:
    buggy.expect("unexpected_error")
    answer = buggy.client.get("/bug", headers={"x-request-id": "mine"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "mine"
    assert "swordfish" not in answer.text
    (line,) = buggy.logged("unexpected_error")
    assert line["request_id"] == "mine"
    assert "swordfish" in line["exception"]
    assert buggy.metric('stellar_requests_total{route="/bug",status="500"}') == 1

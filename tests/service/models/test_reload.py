"""The models' folder changes under a server that goes on serving; SIGHUP makes it look."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from tests.service.fleet.cluster import cluster_of, wait_until
from tests.service.photos import plain
from tests.service.process import HUNG_UP
from tests.service.server import Server, running
from tests.service.toy import toy_version, write_toy

SLOW, QUICK = plain(100), plain(0)
BEFORE, AFTER = 1, 2
OLD, NEW = toy_version(BEFORE), toy_version(AFTER)
ANOTHER = toy_version()


def rewrite(folder: Path, **changes: Any) -> Path:
    """Put another bundle in the place of one."""
    if folder.exists():
        shutil.rmtree(folder)
    return write_toy(folder, **changes)


def hang_up(server: Server) -> None:
    """Send SIGHUP and wait until the folder has been taken in."""
    before = len(taken_in(server))
    server.process.send_signal(signal.SIGHUP)
    server.wait_until(lambda: len(taken_in(server)) > before)


def taken_in(server: Server) -> list[dict[str, Any]]:
    return server.logged("models_served") + server.logged("models_failed")


def embed(server: Server, *images: bytes, **options: str) -> httpx.Response:
    files = [("image", image) for image in images]
    return httpx.post(f"{server.url}/embed", files=files, data=options, timeout=60)


def served(server: Server) -> dict[str, Any]:
    document = server.client.get("/models").json()
    return {
        "default": document["default"],
        "models": sorted(model["id"] for model in document["models"]),
        "refused": document["refused"],
    }


def refuses(server: Server, expected: dict[str, str]) -> bool:
    return bool(served(server)["refused"] == expected)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_toy(tmp_path / "models/toy", seed=BEFORE)
    return tmp_path / "models"


@pytest.fixture
def server(models: Path, tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path / "log", {"STELLAR_MAX_BATCH": "1"}, "--models", str(models)) as server:
        yield server


def test_folder_is_followed(server: Server, models: Path) -> None:
    """A new bundle appears, a changed one is swapped, one that is gone goes; the default stays."""
    write_toy(models / "another", name="another")
    hang_up(server)
    assert served(server) == {
        "default": "toy",
        "models": [f"another@{ANOTHER}", f"toy@{OLD}"],
        "refused": {},
    }
    assert len(server.logged("model_ready")) == 2  # what has not changed is not loaded again
    rewrite(models / "toy", seed=AFTER)
    shutil.rmtree(models / "another")
    hang_up(server)
    assert served(server) == {"default": "toy", "models": [f"toy@{NEW}"], "refused": {}}
    assert embed(server, QUICK, model=f"toy@{OLD}").json()["code"] == "unknown_model"
    server.wait_until(lambda: len(server.logged("model_closed")) == 2)
    metrics = server.client.get("/metrics").text
    assert (
        f'stellar_model_info{{model="toy",precision="fp32",provider="CPUExecutionProvider",version="{NEW}"}}'
        in metrics
    )
    assert OLD not in metrics
    assert "another" not in metrics


def test_body_that_comes_slowly_is_for_the_version_that_is_served_when_it_is_there(
    server: Server, models: Path
) -> None:
    image = {"name": "image", "datatype": "UINT8", "shape": [1, 8, 8, 3], "data": [0] * 192}
    begun, swapped = Event(), Event()

    def slowly() -> Iterator[bytes]:
        begun.set()
        yield b'{"inputs": ['
        assert swapped.wait(60)
        yield json.dumps(image).encode() + b"]}"

    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx.post, f"{server.url}/v2/models/encoder/infer", content=slowly(), timeout=60)
        assert begun.wait(60)
        rewrite(models / "toy", seed=AFTER)
        hang_up(server)
        swapped.set()
        assert slow.result().json()["model_version"] == NEW


def test_work_in_flight_is_finished_by_the_version_it_began_with(server: Server, models: Path) -> None:
    with ThreadPoolExecutor() as pool:
        old = pool.submit(embed, server, SLOW, SLOW, SLOW)
        server.wait_until(lambda: server.metric('stellar_images_total{model="toy",stage="encode"}') > 0)
        rewrite(models / "toy", seed=AFTER)
        hang_up(server)
        assert embed(server, QUICK).json()["model"] == f"toy@{NEW}"
        assert server.logged("model_closed") == []
        answer = old.result().json()
    assert answer["model"] == f"toy@{OLD}"
    assert ["embedding" in item for item in answer["data"]] == [True] * 3
    server.wait_until(lambda: [line["model"] for line in server.logged("model_closed")] == [f"toy@{OLD}"])


def test_swaps_under_load_fail_no_request(server: Server, models: Path) -> None:
    enough = Event()

    def load() -> list[int]:
        statuses = []
        while not enough.is_set():
            statuses.append(embed(server, QUICK).status_code)
        return statuses

    with ThreadPoolExecutor() as pool:
        loads = [pool.submit(load) for _ in range(4)]
        for seed in (AFTER, BEFORE, AFTER):
            rewrite(models / "toy", seed=seed)
            hang_up(server)
        enough.set()
    assert {status for statuses in loads for status in statuses.result()} == {200}


def test_broken_bundle_leaves_the_old_one_and_says_why(server: Server, models: Path) -> None:
    """A new one beside it is served all the same; mended, it is taken."""
    server.expect("bundle_refused")
    rewrite(models / "toy", seed=AFTER)
    (models / "toy/decoder.onnx").write_bytes(b"damaged")
    write_toy(models / "wrong", name="wrong", width=5)
    write_toy(models / "sound", name="sound")
    hang_up(server)
    told = served(server)
    assert told["models"] == [f"sound@{ANOTHER}", f"toy@{OLD}"]
    assert "toy: decoder.onnx is damaged" in told["refused"]["toy"]
    assert "wrong: reference.safetensors: semantics: expected float32 [2, 3, 5]" in told["refused"]["wrong"]
    assert {line["bundle"] for line in server.logged("bundle_refused")} == {"toy", "wrong"}
    assert server.answers("/healthz/ready", 200)
    assert embed(server, QUICK).json()["model"] == f"toy@{OLD}"
    rewrite(models / "toy", seed=AFTER)
    shutil.rmtree(models / "wrong")
    hang_up(server)
    assert served(server) == {"default": "toy", "models": [f"sound@{ANOTHER}", f"toy@{NEW}"], "refused": {}}


def test_folder_that_makes_no_sense_changes_nothing(server: Server, models: Path) -> None:
    server.expect("models_failed")
    write_toy(models / "twin", seed=AFTER)
    hang_up(server)
    told = served(server)
    assert (told["models"], told["refused"]) == (
        [f"toy@{OLD}"],
        {"models": "two bundles have the same name: toy"},
    )
    shutil.rmtree(models / "twin")
    shutil.rmtree(models / "toy")
    hang_up(server)
    assert "holds no bundle" in served(server)["refused"]["models"]
    assert embed(server, QUICK).json()["model"] == f"toy@{OLD}"


def test_failed_start_is_mended_without_a_restart(models: Path, tmp_path: Path) -> None:
    (models / "toy/encoder.onnx").write_bytes(b"damaged")
    with Server(tmp_path / "log", {}, "--models", str(models)) as server:
        server.expect("models_failed")
        server.wait_until(
            lambda: bool(server.logged("models_failed")) and server.answers("/healthz/ready", 503)
        )
        rewrite(models / "toy", seed=AFTER)
        hang_up(server)
        server.wait_until(lambda: server.answers("/healthz/ready", 200))
        assert embed(server, QUICK).json()["model"] == f"toy@{NEW}"


def test_hang_up_before_the_start_is_over_ends_nothing(models: Path, tmp_path: Path) -> None:
    with Server(tmp_path / "log", {}, "--models", str(models), command=(*HUNG_UP, "serve")) as server:
        server.wait_until(lambda: server.answers("/healthz/ready", 200))
        rewrite(models / "toy", seed=AFTER)
        hang_up(server)
        assert embed(server, QUICK).json()["model"] == f"toy@{NEW}"


def test_with_redis_the_old_version_serves_until_a_worker_has_the_new_one(
    models: Path, tmp_path: Path
) -> None:
    """Until then the change may be taken back, too."""
    with cluster_of(tmp_path, models) as cluster:
        old = cluster.worker()
        api = cluster.ready()
        for seed in (AFTER, BEFORE, AFTER):
            refused = {"toy": f"not yet: no live worker serves toy@{NEW}"} if seed == AFTER else {}
            rewrite(models / "toy", seed=seed)
            api.process.send_signal(signal.SIGHUP)
            wait_until(partial(refuses, api, refused))
            assert api.answers("/healthz/ready", 200)
            assert embed(api, QUICK).json()["model"] == f"toy@{OLD}"
            assert api.metric('stellar_workers{model="toy"}') == 1
        cluster.worker()
        wait_until(lambda: served(api) == {"default": "toy", "models": [f"toy@{NEW}"], "refused": {}})
        assert embed(api, QUICK).json()["model"] == f"toy@{NEW}"
        old.send(signal.SIGHUP)
        assert old.process.wait(30) == 0
        assert embed(api, QUICK).status_code == 200

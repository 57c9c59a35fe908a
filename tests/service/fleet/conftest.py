"""A fleet of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.service.fleet.cluster import Cluster, cluster_of


@pytest.fixture
def cluster(tmp_path: Path, toy_models: Path) -> Iterator[Cluster]:
    with cluster_of(tmp_path, toy_models) as started:
        yield started


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool

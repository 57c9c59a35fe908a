"""What killed downloads leave in the hub's cache, and who removes it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.hub import ABANDONED_S
from tests.model.hub import Hub

pytestmark = pytest.mark.timeout(60)

FETCH = "import sys; from model.hub import fetch; fetch('me/mine', sys.argv[1])"
CONTENT = bytes(2**20)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(tmp_path / "hub") as hub:
        hub.write("me/mine", "large.bin", CONTENT)
        hub.write("me/mine", "small.bin", b"small")
        hub.holds = "large.bin"
        yield hub


class Cache:
    """A cache, and processes that fetch into it."""

    def __init__(self, home: Path, hub: Hub) -> None:
        self._blobs = home / "hub/models--me--mine/blobs"
        self._variables = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        self._variables |= {"HF_HOME": str(home), "HF_ENDPOINT": hub.url}

    def starts(self, file: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", FETCH, file], env=self._variables)

    def parts(self) -> list[Path]:
        return list(self._blobs.glob("*.incomplete"))

    def part_of(self, download: subprocess.Popen[bytes], left: Path | None = None) -> Path:
        """The only part, once a living download has begun it, and what another one has `left` is gone."""
        while download.poll() is None:
            match self.parts():
                case [part] if part != left:
                    return part
            time.sleep(0.02)
        raise AssertionError(f"the download ended with {download.returncode}")


@pytest.fixture
def cache(tmp_path: Path, hub: Hub) -> Cache:
    return Cache(tmp_path / "cache", hub)


def age(part: Path) -> None:
    """Make it look as if nothing had been written for long."""
    past = time.time() - 2 * ABANDONED_S
    os.utime(part, (past, past))


def test_next_download_clears_what_a_killed_one_left_but_no_living_one_s(cache: Cache, hub: Hub) -> None:
    killed = cache.starts("large.bin")
    left = cache.part_of(killed)
    killed.kill()
    killed.wait()
    assert cache.parts() == [left]
    age(left)
    living = cache.starts("large.bin")
    part = cache.part_of(living, left)
    age(part)
    assert cache.starts("small.bin").wait() == 0
    assert cache.parts() == [part]
    hub.goes_on.set()
    assert living.wait() == 0
    assert cache.parts() == []
    assert [line for line in hub.asked if "bytes=" in line] == []  # it had to start over


def test_what_has_just_been_written_stays_where_locks_tell_nothing(cache: Cache) -> None:
    killed = cache.starts("large.bin")
    left = cache.part_of(killed)
    killed.kill()
    killed.wait()
    assert cache.starts("small.bin").wait() == 0
    assert cache.parts() == [left]

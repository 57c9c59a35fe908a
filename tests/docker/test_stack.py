"""`make stack` as a whole: its Procfile, on ports that are free, ended as Ctrl-C ends it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.docker.watch import SHIPPED, hurried
from tests.service.fleet.cluster import free_port, wait_until
from tests.service.photos import plain

ROOT = Path(__file__).parents[2]
REDIS, API, PROMETHEUS, EXPORTER, WORKER = PORTS = ("6379", "8000", "9090", "9121", "9400")


def moved(text: str, ports: dict[str, str]) -> str:
    """The same with other ports."""
    return re.sub("|".join(ports), lambda port: ports[port[0]], text)


@contextmanager
def stack(folder: Path, ports: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """What `make stack` starts, with its log in the folder."""
    (folder / "stack.yml").write_text(hurried(moved((SHIPPED / "stack.yml").read_text(), ports)))
    (folder / "alerts.yml").write_text((SHIPPED / "alerts.yml").read_text())
    procfile = moved((ROOT / "docker" / "stack.Procfile").read_text(), ports)
    (folder / "Procfile").write_text(
        procfile.replace("docker/prometheus/stack.yml", shlex.quote(f"{folder}/stack.yml"))
    )
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "honcho",
        "start",
        "--procfile",
        folder / "Procfile",
        "--app-root",
        ROOT,
    ]
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "STELLAR_REDIS_URL": f"redis://127.0.0.1:{ports[REDIS]}",
        "TMPDIR": str(folder),
    }
    with (folder / "log").open("w") as log:
        started = subprocess.Popen(
            command,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # as a terminal would have it
        )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.terminate()
            started.wait(30)


def listens(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def test_stack_comes_up_as_one_and_ends_as_one(tmp_path: Path) -> None:
    ports = {port: str(free_port()) for port in PORTS}
    api, prometheus = (f"http://127.0.0.1:{ports[port]}" for port in (API, PROMETHEUS))

    def targets_up() -> bool:
        answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": "up == 1"})
        return answer.is_success and len(answer.json()["data"]["result"]) == 3

    with stack(tmp_path, ports) as started:
        wait_until(lambda: started.poll() is None and all(map(listens, ports.values())))
        wait_until(lambda: httpx.get(f"{api}/healthz/ready").is_success)
        assert httpx.post(f"{api}/embed", files={"image": plain(9)}).status_code == 200
        wait_until(targets_up)
        os.killpg(started.pid, signal.SIGINT)
        started.wait(60)
        log = (tmp_path / "log").read_text()
        assert not any(map(listens, ports.values())), log
        assert "Traceback" not in log

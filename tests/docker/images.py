"""The Compose project as a user starts it, in the engine that engine.sh gives: `make image-test`."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.fleet.cluster import free_port, wait_until
from tests.service.photos import photo

ROOT = Path(__file__).parents[2]
STAND_INS = "STAND_INS" in os.environ
RUNTIMES = [("api", "onnxruntime"), ("cuda", "onnxruntime-gpu")][: 2 if os.environ.get("CUDA") else 1]
"""What each service's image runs models with; the GPU image is built with CUDA=1."""
PORTS = {name: str(free_port()) for name in ("PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")}
API = f"http://127.0.0.1:{PORTS['PORT']}"


def compose(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run Docker Compose on the shipped project."""
    files = ["--file", "docker-compose.yml", "--file", "tests/docker/cuda.yml"]
    done = subprocess.run(
        [*shlex.split(os.environ["COMPOSE"]), "--project-name", "stellar-test", *files, *arguments],
        cwd=ROOT,
        env=os.environ | PORTS | {"COMPOSE_PROFILES": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done


def inside(service: str, code: str) -> str:
    """What a Python program prints in a service's container."""
    return compose("exec", "--no-TTY", service, "python", "-c", code).stdout.strip()


def scraped(expression: str) -> dict[str, float]:
    """What Prometheus says, by job."""
    url = f"http://127.0.0.1:{PORTS['PROMETHEUS_PORT']}/api/v1/query"
    data = httpx.get(url, params={"query": expression}).json()["data"]
    return {each["metric"].get("job", ""): float(each["value"][1]) for each in data["result"]}


@pytest.fixture(scope="module", autouse=True)
def project() -> Iterator[None]:
    # There is no stand-in for Grafana.
    without = ["--pull", "never", "--scale", "grafana=0"] if STAND_INS else []
    try:
        compose("up", "--detach", "--wait", "--wait-timeout", "180", "--no-build", *without)
        yield
    finally:
        print(compose("logs", "--no-color", check=False).stdout)  # pytest shows it where a test fails
        compose("down", "--volumes", "--timeout", "5")


def test_the_lines_of_the_readme_are_answered(tmp_path: Path) -> None:
    lines = re.findall(r"^curl .* localhost:8000/.*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(lines) == 4
    (tmp_path / "cat.jpg").write_bytes(photo("chelsea"))
    for line in lines:
        command = [*shlex.split(line.replace("localhost:8000", API)), "--fail", "--silent"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        if " -o " not in line:
            assert json.loads(done.stdout)["data"]
    for name in ("out.png", "maps.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_prometheus_reads_every_process_once() -> None:
    jobs = {"stellar-api": 1, "stellar-worker": 1, "redis": 1}
    wait_until(lambda: scraped("count by (job) (up == 1)") == jobs)
    wait_until(lambda: scraped('sum(stellar_images_total{job="stellar-worker"}) > bool 0') == {"": 1})
    assert set(scraped("redis_memory_max_bytes").values()) == {2**30}


@pytest.mark.parametrize("service", ["api", "worker"])
def test_containers_can_do_nothing_but_their_work(service: str) -> None:
    status = inside(service, "print(open('/proc/self/status').read())")
    assert re.search(r"^Uid:\s+10001\s", status, re.MULTILINE)
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    for folder in ("/", "/opt/venv", "/models"):
        tried = f"import os\ntry: open('{folder}/x', 'w')\nexcept OSError as error: print(error.strerror)"
        assert inside(service, tried) in ("Read-only file system", "Permission denied")


@pytest.mark.parametrize(("service", "runtime"), RUNTIMES)
def test_an_image_has_one_onnxruntime_and_no_torch(service: str, runtime: str) -> None:
    code = "from importlib.metadata import distributions as d; print(*(x.name.lower() for x in d()))"
    run = ("run", "--rm", "--no-deps", "--no-TTY", "--entrypoint", "/opt/venv/bin/python")
    packages = set(compose(*run, service, "-c", code).stdout.split())
    assert packages & {"onnxruntime", "onnxruntime-gpu", "torch", "onnx"} == {runtime}


def test_a_worker_that_dies_is_replaced_and_nothing_is_lost() -> None:
    started = 'max by (job) (process_start_time_seconds{job="stellar-worker"})'
    first = scraped(started)["stellar-worker"]
    compose("exec", "--no-TTY", "worker", "python", "-c", "import os; os.kill(-1, 9)", check=False)
    with httpx.Client(base_url=API, timeout=60) as client:

        def answered() -> bool:
            answer = client.post("/embed", files={"image": photo("rocket")})
            assert answer.status_code == 200 or answer.json()["code"] in ("no_worker", "not_ready")
            return answer.status_code == 200

        wait_until(answered)
    wait_until(lambda: scraped(started).get("stellar-worker", 0) > first)


def test_grafana_has_a_password_that_nobody_knows() -> None:
    kept = "import pathlib; print(pathlib.Path('/password/grafana').read_text())"
    run = ["run", "--rm", "--no-deps", "--no-TTY", "grafana-password"]
    passwords = {compose(*run, kept).stdout.strip() for _ in range(2)}
    assert len(passwords) == 1
    assert len(passwords.pop()) == 24


def test_redis_is_reached_from_nowhere_else() -> None:
    config = json.loads(compose("config", "--format", "json").stdout)
    published = {name for name, service in config["services"].items() if service.get("ports")}
    assert published == {"api", "prometheus", "grafana"}
    code = "import socket\ntry: socket.create_connection(('1.1.1.1', 53), 2)\nexcept OSError: print('none')"
    assert inside("worker", code) == "none"

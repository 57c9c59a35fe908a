"""The shipped monitoring as it runs: Prometheus, Redis's exporter, and the text that a GPU's exporter has."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.service.fleet.cluster import Cluster, free_port, wait_until

SHIPPED = Path(__file__).parents[2] / "docker" / "prometheus"
GPU = 'gpu="0",Hostname="host"'


class GpuExporter(BaseHTTPRequestHandler):
    """What dcgm-exporter would say of one GPU."""

    temperature = 60

    def do_GET(self) -> None:
        values = {"GPU_UTIL": 80, "FB_USED": 4096, "GPU_TEMP": type(self).temperature, "POWER_USAGE": 210.5}
        text = "".join(f"DCGM_FI_DEV_{name}{{{GPU}}} {value}\n" for name, value in values.items())
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


class Line(NamedTuple):
    """What an expression was for one set of labels, at even steps; NaN where it was nothing."""

    labels: dict[str, str]
    values: list[float]


class Prometheus:
    """Debian's Prometheus with the shipped rules, asked through its API."""

    def __init__(self, folder: Path, targets: Mapping[str, Sequence[int]]) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._client = httpx.Client(base_url=f"{self.url}/api/v1/")  # to make one takes 20 ms
        self._num_targets = sum(map(len, targets.values()))
        config = hurried((SHIPPED / "stack.yml").read_text())
        for job, ports in targets.items():
            addresses = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
            config, count = re.subn(rf"(job_name: {job}\n.*targets: )\[.*?\]", rf"\g<1>[{addresses}]", config)
            if not count:
                config += f"  - job_name: {job}\n    static_configs: [{{targets: [{addresses}]}}]\n"
        (folder / "prometheus.yml").write_text(config)
        (folder / "alerts.yml").write_text(hurried((SHIPPED / "alerts.yml").read_text()))
        program = shutil.which("prometheus")
        assert program, "the tests need prometheus: apt install prometheus"
        address = self.url.removeprefix("http://")
        self.process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address={address}",
                "--enable-feature=exemplar-storage",
                "--log.level=error",
            ]
        )

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer; an error of Prometheus fails the test with its words."""
        answer = self._client.get(path, params=parameters).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    def values(self, expression: str) -> list[float]:
        """What an expression is now, for each of its lines."""
        return [float(each["value"][1]) for each in self.ask("query", query=expression)["result"]]

    def lines(self, expression: str, start: float, steps: int, step_s: int) -> list[Line]:
        """What an expression was at so many steps from `start` on, seconds since 1970."""
        end = start + (steps - 1) * step_s
        span = {"start": str(start), "end": str(end), "step": str(step_s)}
        lines = []
        for each in self.ask("query_range", query=expression, **span)["result"]:
            there = {round((at - start) / step_s): float(value) for at, value in each["values"]}
            lines.append(Line(each["metric"], [there.get(step, math.nan) for step in range(steps)]))
        return lines

    def close(self) -> None:
        self._client.close()
        self.process.terminate()
        self.process.wait(30)

    def up(self) -> bool:
        """Whether every target was scraped twice."""
        try:
            up = self.values("count_over_time(up[1m]) >= 2 and up == 1")
            return len(up) == self._num_targets
        except (httpx.TransportError, ValueError):  # it says in plain words that it is not ready yet
            return False

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        alerts = self.ask("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its health."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]


def hurried(text: str) -> str:
    """The same configuration with a second for every five, and with ten for every some minutes."""
    text = re.sub(r"interval: 5s", "interval: 1s", text)
    text = re.sub(r"for: \d+m", "for: 1s", text)
    return re.sub(r"\[\d+m\]", "[10s]", text)


@contextmanager
def gpu_exporter() -> Iterator[int]:
    """The port of a stand-in for NVIDIA's exporter."""
    with ThreadingHTTPServer(("127.0.0.1", 0), GpuExporter) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


@contextmanager
def watching(folder: Path, cluster: Cluster, **others: int) -> Iterator[Prometheus]:
    """Prometheus over the cluster's processes as they are now, Redis's exporter, and other jobs' ports."""
    exporter_port = free_port()
    program = shutil.which("prometheus-redis-exporter")
    assert program, "the tests need Redis's exporter: apt install prometheus-redis-exporter"
    address = f"127.0.0.1:{exporter_port}"
    exporter = subprocess.Popen(
        [program, "-web.listen-address", address, "-redis.addr", cluster.redis.url],
        stderr=subprocess.DEVNULL,
    )
    targets = {
        "stellar-api": [api.port for api in cluster.apis],
        "stellar-worker": [worker.port for worker in cluster.workers],
        "redis": [exporter_port],
        **{job: [port] for job, port in others.items()},
    }
    prometheus = Prometheus(folder, targets)
    try:
        wait_until(prometheus.up)
        yield prometheus
    finally:
        prometheus.close()
        exporter.terminate()
        exporter.wait(30)

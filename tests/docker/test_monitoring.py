"""Every line of the dashboards and alert rules, against a real Prometheus that scrapes a real fleet."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.settings import BUNDLED_MODELS
from tests.docker.plot import plot
from tests.docker.test_helm import VALUES, of_kind, render
from tests.docker.watch import SHIPPED, GpuExporter, Line, Prometheus, gpu_exporter, watching
from tests.service.fleet.cluster import Cluster, cluster_of, wait_until
from tests.service.photos import plain
from tests.service.watch.test_tracing import Collector, collecting

ROOT = Path(__file__).parents[2]
DASHBOARDS = ROOT / "docker" / "grafana" / "dashboards"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as started:
        yield started


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    settings = {"cache_ttl_s": "60", "max_queue": "8"}
    with cluster_of(folder, BUNDLED_MODELS, "--maxmemory", "100mb", **settings) as started:
        started.settings |= collector.settings
        started.worker()
        started.ready()
        yield started


@pytest.fixture(scope="module")
def prometheus(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    with gpu_exporter() as gpu, watching(folder, cluster, gpu=gpu) as started:
        yield started


def load(cluster: Cluster) -> None:
    """A little of everything: three routes, images seen before, and one that is none."""
    client = cluster.apis[0].client
    for level in range(0, 60, 3):
        for path in ("/embed", "/tokens", "/reconstruct"):
            assert client.post(path, files={"image": plain(level)}).status_code == 200
        assert client.post("/embed", files={"image": b"no image"}).status_code == 422


def panels() -> Iterator[dict[str, Any]]:
    for path in sorted(DASHBOARDS.glob("*.json")):
        yield from (panel for panel in json.loads(path.read_text())["panels"] if panel["type"] != "row")


def test_dashboards_are_what_the_drawing_says(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "docker" / "grafana" / "draw.py", tmp_path], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fleet.json", "service.json"]
    for path in tmp_path.iterdir():
        assert path.read_text() == (DASHBOARDS / path.name).read_text(), "make dashboards draws them anew"


def test_every_panel_has_a_title_a_description_and_a_unit() -> None:
    for panel in panels():
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_every_line_of_every_panel_has_data(cluster: Cluster, prometheus: Prometheus) -> None:
    end = time.monotonic() + 120
    load(cluster)

    def empty() -> list[tuple[str, str]]:
        expressions = [
            (panel["title"], target["expr"].replace("$__rate_interval", "5m"))
            for panel in panels()
            for target in panel["targets"]
        ]
        assert len(expressions) > 20
        return [
            (title, expression)
            for title, expression in expressions
            if not (values := prometheus.values(expression)) or all(map(math.isnan, values))
        ]

    while missing := empty():
        assert time.monotonic() < end, missing
        load(cluster)
        time.sleep(0.5)


def test_the_panels_tell_what_was_sent(cluster: Cluster, prometheus: Prometheus) -> None:
    rejected = 'stellar_rejected_total{reason="unknown_image_format"}'
    before = sum_of(cluster.apis[0].port, rejected[:-1])
    load(cluster)
    wait_until(lambda: prometheus.values(f"sum({rejected})") == [before + 20])
    worked = sum_of(cluster.workers[0].port, "stellar_images_total{")
    assert worked > 0
    wait_until(lambda: prometheus.values('sum(stellar_images_total{job="stellar-worker"})') == [worked])
    assert prometheus.values('sum(stellar_images_total{job="stellar-api"}) or vector(0)') == [0]


def sum_of(port: int, series: str) -> float:
    """What a process itself tells of all series that begin so."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(series))


def test_the_plot_has_each_panel_in_its_place_with_its_lines(
    cluster: Cluster, prometheus: Prometheus
) -> None:
    load(cluster)
    wait_until(lambda: len(prometheus.values("sum by (route) (rate(stellar_requests_total[10s]))")) >= 3)
    board = json.loads((DASHBOARDS / "service.json").read_text())
    start, asked = time.time() - 10, []

    def ask(expression: str) -> list[Line]:
        asked.extend(lines := prometheus.lines(expression.replace("$__rate_interval", "10s"), start, 10, 1))
        return lines

    figure = plot(board["title"], board["panels"], ask, range(10))
    drawn = {axes.get_title("left"): axes for axes in figure.axes}
    places = {each["title"]: each["gridPos"] for each in board["panels"] if each["type"] != "row"}
    assert list(drawn) == list(places)
    lefts = {place["x"]: drawn[title].get_position().x0 for title, place in places.items()}
    tops = {place["y"]: drawn[title].get_position().y1 for title, place in places.items()}
    assert sorted(lefts.values()) == [lefts[x] for x in sorted(lefts)]
    assert sorted(tops.values()) == [tops[y] for y in sorted(tops, reverse=True)]
    assert sum(len(axes.get_lines()) for axes in figure.axes) == len(asked)
    assert {"/embed", "/tokens", "/reconstruct"} <= {
        line.get_label() for line in drawn["Requests"].get_lines()
    }
    memory = min(float(np.asarray(line.get_ydata())[-1]) for line in drawn["Memory"].get_lines())
    held = min(prometheus.values('process_resident_memory_bytes{job=~"stellar-.+"}'))
    assert memory * 2**20 == pytest.approx(held, rel=0.2)


def test_a_latency_leads_to_its_traces(
    cluster: Cluster, prometheus: Prometheus, collector: Collector
) -> None:
    [target] = [each for panel in panels() if panel["title"] == "Stages" for each in panel["targets"]]
    assert target["exemplar"]
    expression = target["expr"].replace("$__rate_interval", "5m")

    def named() -> set[str]:
        span = {"start": str(time.time() - 60), "end": str(time.time())}
        found = prometheus.ask("query_exemplars", query=expression, **span)
        return {each["labels"]["trace_id"] for series in found for each in series["exemplars"]}

    load(cluster)
    wait_until(named)
    wait_until(lambda: named() <= {each.span.trace_id.hex() for each in collector.spans})


def test_what_workers_are_scaled_by_has_data(prometheus: Prometheus) -> None:
    [trigger] = of_kind("ScaledObject", render(VALUES["all"]))["stellar-worker"]["spec"]["triggers"]
    query, count = re.subn(r'namespace=".+", service=".+"', "", trigger["metadata"]["query"])
    assert count == 1
    assert prometheus.values(query) == [0]


def test_every_rule_is_sound_and_looks_at_something_that_there_is(prometheus: Prometheus) -> None:
    rules = prometheus.rules()
    assert len(rules) == 12
    for rule in rules:
        assert rule["health"] == "ok", rule
        # Asked whether it holds instead of for what it holds, the comparison always has an answer.
        asked = re.sub(r" (==|<|>) ([\d.]+)$", r" \1 bool \2", rule["query"])
        assert asked != rule["query"]
        assert prometheus.values(asked), rule["name"]
        assert rule["annotations"]["runbook"] == f"docs/run/runbook.md#{rule['name'].lower()}"


def test_what_every_api_process_tells_is_never_added_up() -> None:
    lines = [target["expr"] for panel in panels() for target in panel["targets"]]
    lines += re.findall(r"expr: (.+)", (SHIPPED / "alerts.yml").read_text())
    told = [line for line in lines if re.search(r"stellar_(workers|queue_lag)", line)]
    assert len(told) == 4
    assert all(line.startswith("max by") for line in told)


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    names = re.findall(r"- alert: (\w+)", (SHIPPED / "alerts.yml").read_text())
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs/run/runbook.md").read_text(), re.MULTILINE)
    assert sections == names


@pytest.mark.parametrize(
    "command",
    [
        ["check", "config", "prometheus.yml"],
        ["check", "config", "stack.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
    ],
)
def test_promtool_agrees(command: list[str]) -> None:
    done = subprocess.run(["promtool", *command], cwd=SHIPPED, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_trouble_is_told(cluster: Cluster, prometheus: Prometheus) -> None:
    """Last, for it leaves nothing standing. The rest of the alerts is provoked in alerts.test.yml."""
    assert prometheus.firing() == set()
    GpuExporter.temperature = 91
    wait_until(lambda: prometheus.firing() == {"GpuHot"})
    memory: Any = cluster.redis.client.info("memory")
    cluster.redis.client.config_set("maxmemory", round(1.05 * memory["used_memory"]))
    wait_until(lambda: "RedisMemory" in prometheus.firing())
    cluster.redis.client.config_set("maxmemory", "100mb")
    cluster.expect("buried", "redis_away")
    cluster.redis.client.xadd(cluster.streams()[0], {"no": "item"})
    wait_until(lambda: "StellarDeadLetters" in prometheus.firing())
    client, crowd = cluster.apis[0].client, [("image", plain(level)) for level in range(32)]

    def refused(_: int) -> bool:
        return bool(client.post("/embed", files=crowd).json().get("code") == "queue_full")

    with ThreadPoolExecutor(
        4
    ) as pool:  # each may have a part of the queue at a time, and together they want more
        wait_until(lambda: any([*pool.map(refused, range(4))]) and "StellarRefusing" in prometheus.firing())
    cluster.workers[0].kill()
    wait_until(lambda: {"StellarDown", "StellarNoWorkers"} <= prometheus.firing())
    cluster.redis.kill()
    wait_until(lambda: "RedisDown" in prometheus.firing())
    wait_until(lambda: client.post("/embed", files={"image": plain(99)}).status_code == 503)
    wait_until(
        lambda: client.post("/embed", files={"image": plain(98)}) and "StellarErrors" in prometheus.firing()
    )

"""The Helm chart: what it renders is valid, hardened, of one piece, and runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.settings import BUNDLED_MODELS
from tests.docker.watch import SHIPPED
from tests.service.fleet.cluster import WorkerProcess, cluster_of, wait_until
from tests.service.photos import plain
from tests.service.server import Server

ROOT = Path(__file__).parents[2]
CHART = ROOT / "docker" / "helm" / "stellar"
OLDEST = "1.30"  # as Chart.yaml says
CUSTOM = ("ScaledObject", "ServiceMonitor", "PodMonitor", "PrometheusRule")
INGRESS, MONITORING = (
    {"namespaceSelector": {"matchLabels": {"name": name}}} for name in ("ingress", "monitoring")
)
VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "cpu": {
        "worker": {
            "image": "stellar-service:cpu",
            "device": "cpu",
            "resources": {"limits": {"nvidia.com/gpu": None}},
        }
    },
    "all": {
        "apiKeysSecret": {"name": "keys"},
        "modelsClaim": "models",
        "tracing": {"endpoint": "http://collector.monitoring:4318"},
        "imagePullSecrets": [{"name": "registry"}],
        "api": {
            "grpc": {"enabled": True},
            "env": {"STELLAR_MAX_QUEUE": "512"},
            "nodeSelector": {"pool": "web"},
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        },
        "worker": {
            "device": "tensorrt",
            "autoscaling": {"enabled": True},
            "engines": {"claim": "engines"},
            "runtimeClassName": "nvidia",
        },
        "networkPolicy": {
            "clients": [INGRESS],
            "prometheus": [MONITORING],
        },
        "monitoring": {"enabled": True, "labels": {"release": "prometheus"}},
    },
    "fixed": {"api": {"autoscaling": {"enabled": False}}, "networkPolicy": {"enabled": False}},
}


def helm(command: str, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    program = shutil.which("helm") or shutil.which("helm", path=str(Path(sys.executable).parent))
    assert program, "the tests need Helm: make helm, or brew install helm"
    release = ["stellar"] if command == "template" else ["--strict"]
    return subprocess.run(
        [program, command, *release, CHART, "--values", "-"],
        input=yaml.safe_dump(values),
        capture_output=True,
        text=True,
        check=False,
    )


def render(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Every object that the chart makes with these values."""
    done = helm("template", values)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture(scope="module", params=list(VALUES))
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return render(VALUES[request.param])


def of_kind(kind: str, objects: list[dict[str, Any]]) -> dict[str, Any]:
    """Objects of a kind by name."""
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def pods(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: deployment["spec"]["template"] for name, deployment in of_kind("Deployment", objects).items()
    }


@pytest.mark.parametrize("values", VALUES)
def test_helm_lints_it(values: str) -> None:
    done = helm("lint", VALUES[values])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_kubernetes_knows_every_field(objects: list[dict[str, Any]], version: str) -> None:
    for each in objects:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, version, strict=True)


def test_keda_and_the_prometheus_operator_know_every_field() -> None:
    # Only now: they take seconds to load, and every worker collects this file.
    from cloudcoil.models.keda.v1alpha1 import ScaledObject
    from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule, ServiceMonitor

    custom = [each for each in render(VALUES["all"]) if each["kind"] in CUSTOM]
    assert {each["kind"] for each in custom} == set(CUSTOM)
    known = {model.__name__: model for model in (ScaledObject, ServiceMonitor, PodMonitor, PrometheusRule)}
    for each in custom:
        model = known[each["kind"]].model_validate(each)
        assert model.model_dump(mode="json", by_alias=True, exclude_unset=True) == each


def test_pods_may_do_nothing_that_they_need_not(objects: list[dict[str, Any]]) -> None:
    assert set(pods(objects)) == {"stellar-api", "stellar-worker"}
    for pod in pods(objects).values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["spec"]["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_secrets_stand_in_no_object() -> None:
    objects = render(VALUES["all"])
    assert not of_kind("Secret", objects)
    [api] = pods(objects)["stellar-api"]["spec"]["containers"]
    secret = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in api["env"] if "value" not in each}
    assert secret == {
        "STELLAR_REDIS_URL": {"name": "stellar-redis", "key": "url"},
        "STELLAR_API_KEYS": {"name": "keys", "key": "keys"},
    }


def test_objects_find_each_other(objects: list[dict[str, Any]]) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(objects).items()}
    ports = {
        name: {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
        for name, pod in pods(objects).items()
    }
    for each in objects:
        name, spec = each["metadata"]["name"], each["spec"]
        selector = spec.get("selector") or spec.get("podSelector")
        if selector:
            wanted = selector.get("matchLabels", selector)
            chosen = [part for part, known in labels.items() if wanted.items() <= known.items()]
            assert chosen == [name], each["kind"]
        if target := spec.get("scaleTargetRef"):
            assert target["name"] in labels
            assert "replicas" not in of_kind("Deployment", objects)[target["name"]]["spec"]
        for port in spec.get("ports", []):
            assert port["targetPort"] in ports[name]
        for rule in spec.get("ingress", []):
            assert {port["port"] for port in rule["ports"]} <= ports[name]
        for endpoint in spec.get("podMetricsEndpoints", []):
            assert endpoint["port"] in ports[name]
    for name, pod in pods(objects).items():
        [container] = pod["spec"]["containers"]
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        for probe in ("startupProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] in ports[name]


def test_a_worker_has_a_gpu_unless_it_needs_none() -> None:
    def limits(values: str) -> dict[str, Any]:
        [container] = pods(render(VALUES[values]))["stellar-worker"]["spec"]["containers"]
        return container["resources"]["limits"]  # type: ignore[no-any-return]

    assert limits("defaults")["nvidia.com/gpu"] == 1
    assert set(limits("cpu")) == {"memory"}


def test_prometheus_may_scrape_where_only_some_may_call() -> None:
    policies = of_kind("NetworkPolicy", render(VALUES["all"]))
    callers = {name: policy["spec"]["ingress"][0]["from"] for name, policy in policies.items()}
    assert callers == {"stellar-api": [INGRESS, MONITORING], "stellar-worker": [MONITORING]}
    open_to_all = of_kind("NetworkPolicy", render({"networkPolicy": {"prometheus": [MONITORING]}}))
    assert "from" not in open_to_all["stellar-api"]["spec"]["ingress"][0]


def test_grpc_has_a_port_of_its_own_for_callers_alone_where_it_is_asked_for() -> None:
    objects = render(VALUES["all"])
    [api] = pods(objects)["stellar-api"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in api["ports"]}
    assert {each["name"]: each.get("value") for each in api["env"]}["STELLAR_GRPC_PORT"] == str(ports["grpc"])
    _, port = of_kind("Service", objects)["stellar-api"]["spec"]["ports"]
    assert (port["targetPort"], port["appProtocol"]) == ("grpc", "kubernetes.io/h2c")
    _, rule = of_kind("NetworkPolicy", objects)["stellar-api"]["spec"]["ingress"]
    assert rule == {"ports": [{"port": "grpc"}], "from": [INGRESS]}
    assert "grpc" not in helm("template", VALUES["cpu"]).stdout.lower()


def test_alerts_are_those_of_the_repository() -> None:
    rule = of_kind("PrometheusRule", render(VALUES["all"]))["stellar-api"]
    assert rule["spec"] == yaml.safe_load((SHIPPED / "alerts.yml").read_text())


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"api": {"replica": 3}}, "'replica' not allowed"),
        ({"worker": {"autoscaling": {"min": 0}}}, "minimum: got 0, want 1"),
        ({"worker": {"device": "gpu"}}, "must be one of 'tensorrt', 'cuda', 'cpu'"),
        ({"redis": {"urlSecret": {"name": ""}}}, "minLength"),
        ({"tracing": {"endpoint": "collector:4318"}}, "does not match pattern"),
    ],
)
def test_values_that_mean_nothing_are_refused(values: dict[str, Any], told: str) -> None:
    done = helm("template", values)
    assert done.returncode != 0
    assert told in done.stderr


def test_what_the_pods_run_answers_their_probes(tmp_path: Path) -> None:
    """The containers' commands and variables as processes, with the secrets resolved and on free ports."""
    part = {name: pod["spec"]["containers"][0] for name, pod in pods(render(VALUES["cpu"])).items()}
    with cluster_of(tmp_path, BUNDLED_MODELS) as cluster:

        def variables(container: dict[str, Any]) -> dict[str, str]:
            values = {each["name"]: each.get("value", cluster.redis.url) for each in container["env"]}
            return values | {"STELLAR_HOST": "127.0.0.1"}

        def command(container: dict[str, Any]) -> tuple[str, ...]:
            return ("-m", "service.cli", *container["args"])

        api, worker = part["stellar-api"], part["stellar-worker"]
        runs = WorkerProcess(tmp_path / "worker.log", variables(worker), command=command(worker))
        cluster.workers.append(runs)
        server = Server(tmp_path / "api.log", variables(api), command=command(api))
        cluster.apis.append(server)
        wait_until(lambda: runs.ready)
        for container, port in ((api, server.port), (worker, runs.port)):
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                path = container.get(probe, container["startupProbe"])["httpGet"]["path"]
                server.wait_until(partial(server.answers, f"http://127.0.0.1:{port}{path}", 200))
        assert server.client.post("/embed", files={"image": plain(9)}).status_code == 200
        assert "unknown_setting" not in server.log + runs.log

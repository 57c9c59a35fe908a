"""The Dockerfile and Compose's file as far as they can be judged without an engine; images.py runs them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
PROJECT: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = PROJECT["services"]
EXPLAINED = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))


def program(name: str) -> str:
    """A program of this environment."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found, f"the tests need {name}, which the extra dev has"
    return found


@pytest.mark.parametrize(
    "command",
    [
        ["hadolint", "docker/Dockerfile", "tests/docker/stand-ins.Dockerfile"],
        [
            "check-jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            "docker-compose.yml",
            "tests/docker/cuda.yml",
        ],
    ],
)
def test_linters_have_nothing_to_say(command: list[str]) -> None:
    done = subprocess.run(
        [program(command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def profiles(service: str) -> set[str]:
    return set(SERVICES[service].get("profiles", ["cpu", "gpu"]))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_names_only_what_there_is(name: str) -> None:
    service = SERVICES[name]
    for other in service.get("depends_on", {}):
        assert other in SERVICES
        assert profiles(name) <= profiles(other), f"{other} does not run with every profile of {name}"
    assert set(service.get("networks", {})) <= set(PROJECT["networks"])
    for secret in service.get("secrets", []):
        assert (secret if isinstance(secret, str) else secret["source"]) in PROJECT["secrets"]
    for volume in service.get("volumes", []):
        source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", volume).split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in PROJECT["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] or name == "dcgm-exporter"
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert all(
        port.startswith(("${BIND:-127.0.0.1}", "${MONITORING_BIND:-127.0.0.1}"))
        for port in service.get("ports", [])
    )


def test_prometheus_shares_one_network_with_each_that_it_reads() -> None:
    own = set(SERVICES["prometheus"]["networks"])
    for name in ("api", "worker", "worker-gpu", "redis-exporter", "dcgm-exporter"):
        assert len(own & set(SERVICES[name]["networks"])) == 1


def test_images_have_exact_versions() -> None:
    others = [service["image"] for service in SERVICES.values() if "build" not in service]
    for image in others:
        assert re.search(r":v?\d+\.\d+\.\d+", image) or image == "stellar-service:cpu", image
    python = re.search(r"^ARG PYTHON_IMAGE=(.+)$", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    assert python is not None
    assert re.search(r":\d+\.\d+\.\d+-", python[1])
    assert EXPLAINED["PYTHON_IMAGE"] == python[1]


@pytest.mark.parametrize("extra", ["cuda", "gpu"])
def test_onnxruntime_is_never_beside_onnxruntime_gpu(extra: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    def names(extra: str) -> set[str]:
        own = {re.split(r"[>=<\[]", each)[0] for each in extras[extra]}
        inner = re.findall(r"stellar-service\[(.+?)\]", " ".join(extras[extra]))
        return own.union(*(names(each) for each in inner))

    assert "onnxruntime-gpu" in names(extra)
    assert not names(extra) & {"onnxruntime", "torch"}


def test_the_example_explains_every_variable_with_its_default() -> None:
    used = dict(re.findall(r"\$\{([A-Z_]+):-(.*?)\}", TEXT))
    ours = {name for name in EXPLAINED if not name.startswith("STELLAR_")}
    assert ours - {"COMPOSE_PROFILES"} == set(used) - {"STELLAR_API_KEYS_FILE"}
    for name, default in used.items():
        assert EXPLAINED[name] == ("" if name.endswith("_FILE") else default), name


def test_the_example_has_the_services_own_defaults() -> None:
    named = {name: value for name, value in EXPLAINED.items() if name.startswith("STELLAR_")}
    assert named
    for name, value in named.items():
        default = Settings.model_fields[name.removeprefix("STELLAR_").lower()].default
        assert value == ("" if default is None else str(default))

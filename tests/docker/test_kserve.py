"""The objects for KServe: it knows every field of them, and the service takes what they give it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from service.settings import read_settings
from tests.docs.test_commands import APPS
from tests.service.http.oip.test_kserve import PYTHON

FOLDER = Path(__file__).parents[2] / "docker/kserve"
MODELS = Path(__file__).with_name("kserve_models.py")


def told(*files: Path) -> str:
    """What KServe's models do not know."""
    assert PYTHON.exists(), "make test sets up KServe's client"
    done = subprocess.run([PYTHON, MODELS, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def test_kserve_knows_every_field(tmp_path: Path) -> None:
    """Of ours, and not one that is wrong: one process looks at all, for it takes a second to start."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((FOLDER / "runtime.yaml").read_text().replace("autoSelect: true", 'auto: "yes"'))
    field = "ServingRuntime.spec.supportedModelFormats.0.auto"
    ours = sorted(FOLDER.glob("*.yaml"))
    assert told(*ours, wrong) == f"{field}: V1alpha1SupportedModelFormat has no such field\n"


def test_the_service_takes_what_the_runtime_gives_it() -> None:
    (container,) = loaded("runtime.yaml")["spec"]["containers"]
    assert container["args"][0] in APPS["stellar-service"].commands
    given = {each["name"].removeprefix("STELLAR_").lower(): each["value"] for each in container["env"]}
    settings = read_settings(**given)
    assert [port["containerPort"] for port in container["ports"]] == [settings.port, settings.grpc_port]
    assert {container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} == {
        settings.port
    }


def test_the_service_names_the_runtime() -> None:
    runtime, service = loaded("runtime.yaml"), loaded("service.yaml")
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    (known,) = runtime["spec"]["supportedModelFormats"]
    assert model["modelFormat"].items() <= known.items()
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]

"""What a release is: one version, an sdist, and a wheel that serves wherever it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.service.photos import photo
from tests.service.server import running

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
PACKAGES = ("model", "service", "training")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist of this tree, and the wheel that is built from the sdist."""
    folder = tmp_path_factory.mktemp("release")
    source = folder / "source"  # building leaves files behind
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "dist", "work", "*.egg-info"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return dist / f"stellar_service-{VERSION}-py3-none-any.whl"


def test_wheel_made_of_the_sdist_holds_the_three_packages_to_the_byte(wheel: Path) -> None:
    files = {
        str(path.relative_to(ROOT)): path.read_bytes()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.parent != ROOT / "training/cards"
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert held.keys() == files.keys()
    assert [name for name, content in files.items() if held[name] != content] == []


def test_sdist_holds_what_the_wheel_is_made_of_and_no_more(dist: Path) -> None:
    with tarfile.open(dist / f"stellar_service-{VERSION}.tar.gz") as archive:
        paths = [Path(member.name).parts[1:] for member in archive if member.isfile()]
    beside = {path[0] for path in paths} - {*PACKAGES, "stellar_service.egg-info"}
    assert beside == {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"}


def test_wheel_serves_without_the_repository_by_the_one_line_of_the_readme(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    constraints = ("--constraint", str(ROOT / "constraints.txt"))
    subprocess.run([*pip, *constraints, "--target", str(tmp_path / "uv"), "uv"], check=True)
    uvx = str(tmp_path / "uv/bin/uvx")
    start = ("--python", sys.executable, "--constraints", constraints[1], "--from", f"{wheel}[cpu]")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    torch = "from importlib.util import find_spec; print(find_spec('torch'))"
    said = subprocess.run(
        [uvx, *start, "python", "-I", "-c", torch], capture_output=True, text=True, check=True
    )
    assert said.stdout == "None\n"
    command = (*start, "stellar-service", "serve")
    with running(tmp_path / "log", {}, command=command, python=uvx) as server:
        assert server.client.get("/openapi.json").json()["info"]["version"] == VERSION
        assert [model["name"] for model in server.client.get("/models").json()["models"]] == ["stellar-tiny"]
        assert len(server.embedded(photo("chelsea"))[0]) == 192
        scripts = re.findall(r'<script [^>]*src="([^"]+)"', server.client.get("/").text)
        assert [script for script in scripts if not server.answers(f"/{script}", 200)] == []
        assert len(scripts) == 2


def test_chart_images_pages_and_changelog_have_the_package_s_version() -> None:
    chart = yaml.safe_load((ROOT / "docker/helm/stellar/Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)
    assert re.findall(r"^ARG VERSION=(.*)$", (ROOT / "docker/Dockerfile").read_text(), re.MULTILINE) == [
        VERSION
    ]
    wheels = re.findall(r"stellar_service-(.*?)-py3", (ROOT / "README.md").read_text())
    tags = re.findall(r"^git tag v(.*)$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert wheels + tags == [VERSION, VERSION]
    released = re.findall(r"^## (\S+) - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == VERSION

"""Models by name, and how many images they let in."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from service.batching.batcher import Item, Outputs
from service.batching.lanes import Admission, Lane
from service.errors import QueueFull
from service.models.served import ServedModel
from service.runtime.bundle import choose_bundle, read_bundle
from service.runtime.engine import Arrays, Stage
from tests.service.photos import plain
from tests.service.server import Server, running
from tests.service.toy import toy_version, write_toy

IMAGE = {"image": plain(0)}
VERSION = toy_version()


class Roomy:
    """A batcher that never refuses."""

    provider = "CPUExecutionProvider"
    reason = None

    def ensure_capacity(self, stage: Stage, count: int, lane: Lane) -> None: ...

    async def submit(
        self, stage: Stage, item: Item, *, outputs: Outputs, deadline: float, lane: Lane
    ) -> Arrays:
        raise NotImplementedError

    def show(self) -> None: ...

    async def close(self) -> None: ...


def test_places_are_kept_until_the_images_are_done(toy_models: Path) -> None:
    """Also while the batcher does not know of them yet."""
    manifest = read_bundle(toy_models / "toy").manifest
    model = ServedModel(manifest, Roomy(), Admission(max_admitted=3, small_items=3))
    with model.admit("me", 2, at_once=9):
        with pytest.raises(QueueFull, match="2 images are at work"), model.admit("me", 2, at_once=9):
            pass
        with model.admit("me", 1, at_once=9):
            pass
    with pytest.raises(KeyError), model.admit("me", 3, at_once=9):
        raise KeyError
    with model.admit("me", 3, at_once=9):
        pass


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("two")
    write_toy(models / "one", name="first")
    write_toy(models / "two", name="second")
    return models


def test_models_are_found_by_name_and_by_version(two: Path, tmp_path: Path) -> None:
    with running(tmp_path / "log", {}, "--models", str(two), "--model", "second") as server:

        def used(**options: str) -> httpx.Response:
            return server.client.post("/embed", files=IMAGE, data=options)

        assert used().json()["model"] == f"second@{VERSION}"
        assert used(model="first").json()["model"] == f"first@{VERSION}"
        assert used(model=f"first@{VERSION}").headers["x-stellar-model"] == f"first@{VERSION}"
        for name in ("third", "first@000000000000"):
            unknown = used(model=name)
            assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_model")
            assert f"there is first@{VERSION}, second@{VERSION}" in unknown.json()["detail"]
        listed = server.client.get("/models").json()
        assert (listed["default"], [m["name"] for m in listed["models"]]) == ("second", ["first", "second"])


def test_a_model_in_fp16_is_no_default_on_processors_where_there_is_another(tmp_path: Path) -> None:
    write_toy(tmp_path / "models" / "a-fp16", name="a-fp16", precision="fp16")
    write_toy(tmp_path / "models" / "b", name="b")
    with running(tmp_path / "log", {}, "--models", str(tmp_path / "models")) as server:
        listed = server.client.get("/models").json()
    assert (listed["default"], [m["name"] for m in listed["models"]]) == ("b", ["a-fp16", "b"])
    assert choose_bundle(tmp_path / "models", None, "cpu").manifest.name == "b"
    assert choose_bundle(tmp_path / "models", None, "cuda").manifest.name == "a-fp16"


def reason(models: Path, log: Path, *arguments: str, settings: dict[str, str] | None = None) -> str:
    with Server(log, settings or {}, "--models", str(models), *arguments) as server:
        server.expect("models_failed")
        server.wait_until(
            lambda: bool(server.answers("/healthz/live", 200) and server.logged("models_failed"))
        )
        detail: str = server.client.get("/healthz/ready").json()["detail"]
    return detail


def test_default_model_that_is_absent_is_the_reason(two: Path, tmp_path: Path) -> None:
    told = reason(two, tmp_path / "log", "--model", "third")
    assert told == "the default model 'third' is not among first, second"


def test_two_builds_of_onnx_runtime_are_the_reason(two: Path, tmp_path: Path) -> None:
    """They share their files, so that the one installed last has broken the other."""
    other = tmp_path / "packages" / "onnxruntime_gpu-1.31.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.31.1\n")
    settings = {"PYTHONPATH": str(other.parent)}
    told = reason(two, tmp_path / "log", settings=settings)
    assert re.match(r"onnxruntime [\d.]+ and onnxruntime-gpu 1\.31\.1 are both installed", told)


def test_reason_does_not_say_where_the_folder_lies(tmp_path: Path) -> None:
    """Readiness answers anybody; the log has the path."""
    models = tmp_path / "models"
    told = reason(models, tmp_path / "log")
    assert told == "the models' folder holds no bundle: expected folders with a bundle.json"
    assert f"{models} holds no bundle" in (tmp_path / "log").read_text()


def test_two_bundles_of_one_name_are_the_reason(tmp_path: Path) -> None:
    write_toy(tmp_path / "models/a")
    write_toy(tmp_path / "models/b")
    assert reason(tmp_path / "models", tmp_path / "log") == "two bundles have the same name: toy"

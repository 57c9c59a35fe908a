"""A bundle is read only when it is what its manifest says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.runtime.bundle import BundleError, find_bundles, read_bundle
from service.settings import BUNDLED_MODELS
from tests.service.toy import toy_version, write_toy


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy(tmp_path / "models" / "toy")


def rewrite(folder: Path, **changes: Any) -> None:
    file = folder / "bundle.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_sound_bundle_is_read(toy: Path) -> None:
    manifest = read_bundle(toy).manifest
    assert manifest.id == f"toy@{toy_version()}"
    assert manifest.num_patches == 4


def test_bundled_model_is_sound() -> None:
    (folder,) = find_bundles(BUNDLED_MODELS)
    assert read_bundle(folder).manifest.name == "stellar-tiny"


def test_bundles_are_found_by_name(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write_toy(tmp_path / name)
    write_toy(tmp_path / ".new")  # somebody is still copying it
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert [folder.name for folder in find_bundles(tmp_path)] == ["a", "b", "c"]


def test_folder_without_bundles_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BundleError, match=r"holds no bundle"):
            find_bundles(folder)


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx", "reference.safetensors"])
def test_changed_file_is_refused(toy: Path, name: str) -> None:
    data = bytearray((toy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (toy / name).write_bytes(data)
    with pytest.raises(BundleError, match=rf"toy: {name} is damaged: expected SHA-256 .*, got"):
        read_bundle(toy)


def test_wrong_hash_is_refused(toy: Path) -> None:
    files = json.loads((toy / "bundle.json").read_text())["files"]
    files["encoder.onnx"]["sha256"] = "0" * 64
    rewrite(toy, files=files)
    with pytest.raises(BundleError, match=r"encoder.onnx is damaged: expected SHA-256 000000000000"):
        read_bundle(toy)


def test_grid_that_lies_on_its_side_is_refused(tmp_path: Path) -> None:
    toy = write_toy(tmp_path / "toy", patches=(3, 2))
    rewrite(toy, grid=[2, 3])
    with pytest.raises(BundleError, match=r"grid: expected rows and columns that give \(\d+, \d+\) pixels"):
        read_bundle(toy)


@pytest.mark.parametrize("change", [{"version": "0" * 12}, {"precision": "int8"}])
def test_version_of_another_content_is_refused(toy: Path, change: dict[str, str]) -> None:
    """Caches and tables go by it, so that two contents of one version would be mixed."""
    rewrite(toy, **change)
    with pytest.raises(BundleError, match=r"toy: bundle.json: version: expected \w{12} of its content, got "):
        read_bundle(toy)


def test_statistics_are_a_part_of_the_version(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy", calibrated=True)
    manifest = read_bundle(folder).manifest
    assert manifest.poolings == ("whitened", "mean", "cls", "tokens", "concepts")
    assert manifest.version != toy_version()
    assert manifest.statistics is not None
    rewrite(folder, statistics=manifest.statistics.model_dump() | {"default": "cls"})
    with pytest.raises(BundleError, match=r"version: expected \w{12} of its content, got "):
        read_bundle(folder)


def test_statistics_without_their_file_are_refused(toy: Path) -> None:
    about = {"default": "cls", "pooled": "mean", "shrinkage": 0, "pictures": 1, "judged": {}}
    rewrite(toy, statistics=about)
    with pytest.raises(BundleError, match=r"does not list statistics.safetensors"):
        read_bundle(toy)


def test_missing_graph_is_refused(toy: Path) -> None:
    (toy / "decoder.onnx").unlink()
    with pytest.raises(BundleError, match=r"toy: decoder.onnx can't be read: No such file"):
        read_bundle(toy)


def test_unlisted_graph_is_refused(toy: Path) -> None:
    files = json.loads((toy / "bundle.json").read_text())["files"]
    del files["decoder.onnx"]
    rewrite(toy, files=files)
    with pytest.raises(BundleError, match=r"does not list decoder.onnx"):
        read_bundle(toy)


def test_file_outside_the_bundle_is_refused(toy: Path) -> None:
    files = json.loads((toy / "bundle.json").read_text())["files"]
    rewrite(toy, files=files | {"../secret": files["encoder.onnx"]})
    with pytest.raises(BundleError, match=r"no plain file name"):
        read_bundle(toy)


def test_missing_manifest_is_refused(toy: Path) -> None:
    (toy / "bundle.json").unlink()
    with pytest.raises(BundleError, match=r"toy: bundle.json can't be read"):
        read_bundle(toy)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff"])
def test_manifest_that_is_no_object_is_refused(toy: Path, text: str) -> None:
    (toy / "bundle.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=r"toy: bundle.json: the document: "):
        read_bundle(toy)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 1),
        ("name", "../up"),
        ("version", "latest"),
        ("precision", "fp8"),
        ("image_size", 0),
        ("grid", [2]),
        ("width", "wide"),
        ("head", "other"),
        ("files", {"encoder.onnx": {}}),
        ("statistics", {"default": "tokens"}),
    ],
)
def test_bad_field_is_named(toy: Path, field: str, value: Any) -> None:
    rewrite(toy, **{field: value})
    with pytest.raises(BundleError, match=rf"toy: bundle.json: {field}"):
        read_bundle(toy)


def test_missing_field_is_named(toy: Path) -> None:
    document = json.loads((toy / "bundle.json").read_text())
    del document["width"]
    (toy / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"width: Field required"):
        read_bundle(toy)

"""The engine on a bundle whose answers can be worked out by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.bundle import BundleError, read_bundle
from service.engine import Arrays, Engine, Stage, batch_buckets
from tests.service.toy import write_toy

SOURCE = np.random.default_rng(0)


def load(folder: Path, device: str = "cpu", *, allow_fallback: bool = False) -> Engine:
    bundle = read_bundle(folder)
    return Engine(bundle, device=device, allow_fallback=allow_fallback, threads=1, max_batch=4)


@pytest.fixture(scope="module")
def engine(toy_models: Path) -> Engine:
    return load(toy_models / "toy")


def run(engine: Engine, stage: Stage, **arrays: Any) -> dict[str, Any]:
    """`Engine.run`, with results that mypy lets us calculate with."""
    results: Arrays = engine.run(stage, arrays)
    return dict(results)


def dark(count: int) -> Any:
    """Images (count, 8, 8, 3) with a black pixel each, so that the toy is quick."""
    images = SOURCE.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    images[:, 0, 0] = 0
    return images


def test_encoder_gives_what_its_formula_gives(engine: Engine) -> None:
    images = dark(3)
    out = run(engine, "encode", image=images)
    means = images.astype(np.float64).mean((1, 2)) / 255
    np.testing.assert_allclose(out["semantics"], np.repeat(means[:, :, None], 4, axis=2), atol=1e-6)
    patches = images.reshape(3, 2, 4, 2, 4, 3).mean((2, 4)).reshape(3, 4, 3) / 255
    weights = np.exp(patches) / np.exp(patches).sum(2, keepdims=True)
    np.testing.assert_allclose(out["localization"], weights, atol=1e-6)
    np.testing.assert_allclose(out["cls"], np.repeat(means.mean(1)[:, None], 4, axis=1), atol=1e-6)


def test_decoder_gives_what_its_formula_gives(engine: Engine) -> None:
    semantics = SOURCE.uniform(0, 1, (2, 3, 4)).astype(np.float32)
    places = SOURCE.dirichlet([1, 1, 1], (2, 4)).astype(np.float32)
    (image,) = run(engine, "decode", semantics=semantics, localization=places).values()
    cells = (places @ semantics)[:, :, :3].reshape(2, 2, 2, 3)
    expected = np.kron(cells, np.ones((1, 4, 4, 1))) * 255
    np.testing.assert_allclose(image.astype(float), expected, atol=0.51)


def test_padding_never_shows(engine: Engine) -> None:
    """A batch of three runs in the bucket of four."""
    images = dark(3)
    together = run(engine, "encode", image=images)
    for i in range(3):
        alone = run(engine, "encode", image=images[i : i + 1])
        for name, array in alone.items():
            np.testing.assert_allclose(array[0], together[name][i], atol=1e-6)


@pytest.mark.parametrize(
    ("max_batch", "buckets"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12])],
)
def test_buckets_are_powers_of_two_and_the_largest(max_batch: int, buckets: list[int]) -> None:
    assert batch_buckets(max_batch) == buckets


def test_every_size_up_to_256_has_a_bucket() -> None:
    for max_batch in range(1, 257):
        buckets = batch_buckets(max_batch)
        assert buckets == sorted(set(buckets))
        assert buckets[-1] == max_batch


def test_missing_provider_is_an_error(toy_models: Path) -> None:
    for device in ("cuda", "tensorrt:1"):
        with pytest.raises(BundleError, match=r"asked for \w+ExecutionProvider, got CPUExecutionProvider"):
            load(toy_models / "toy", device)


def test_missing_provider_is_replaced_where_that_is_allowed(toy_models: Path) -> None:
    engine = load(toy_models / "toy", "cuda", allow_fallback=True)
    assert engine.provider == "CPUExecutionProvider"
    assert len(run(engine, "encode", image=dark(1))["cls"]) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"num_sparse_tokens": 5},
            r"output semantics: expected float32 \[1, 5, 4\], got float32 \[1, 3, 4\]",
        ),
        ({"width": 6}, r"output semantics: expected float32 \[1, 3, 6\]"),
        ({"grid": [3, 2]}, r"output localization: expected float32 \[1, 6, 3\], got float32 \[1, 4, 3\]"),
        ({"image_size": 12, "grid": [3, 3]}, r"encoder\.onnx does not run"),
    ],
)
def test_wrong_shapes_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        load(write_toy(tmp_path / "toy", **changes))


def exchanged(folder: Path, name: str, data: bytes) -> Path:
    """Put other bytes in a file's place and make the manifest agree."""
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def test_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    folder = exchanged(write_toy(tmp_path / "toy"), "encoder.onnx", b"not a graph")
    with pytest.raises(BundleError, match=r"toy: encoder.onnx can't be loaded"):
        load(folder)


def test_graph_of_the_wrong_stage_is_refused(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy")
    exchanged(folder, "encoder.onnx", (folder / "decoder.onnx").read_bytes())
    with pytest.raises(
        BundleError, match=r"encoder.onnx: expected inputs \['image'\], got \['localization', 'semantics'\]"
    ):
        load(folder)

"""The engine on a bundle whose answers can be worked out by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest
from safetensors.numpy import save, save_file

from service.runtime.bundle import BundleError, read_bundle
from service.runtime.engine import CONCEPTS, MEAN, WHITENED, Arrays, Engine, Stage, batch_buckets
from service.runtime.providers import DeviceError
from service.runtime.reference import ENCODED
from service.runtime.statistics import read_statistics
from service.settings import Settings
from tests.service.toy import (
    DECODER,
    ENCODER,
    HEADER,
    manifest_of,
    results,
    toy_statistics,
    write_manifest,
    write_toy,
)

SOURCE = np.random.default_rng(0)


def load(folder: Path, device: str = "cpu", *, allow_fallback: bool = False, threads: int = 1) -> Engine:
    settings = {"device": device, "allow_fallback": allow_fallback, "threads": threads, "max_batch": 4}
    return Engine(read_bundle(folder), Settings.model_validate(settings), tell=print)


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
    want = results(images)
    for name in ("semantics", "localization", "cls"):
        np.testing.assert_allclose(out[name], want[name], atol=1e-6)


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


def test_what_is_not_wanted_is_not_there(engine: Engine) -> None:
    images = dark(3)
    whole = run(engine, "encode", image=images)
    part: dict[str, Any] = dict(engine.run("encode", {"image": images}, ("cls",)))
    assert list(part) == ["cls"]
    np.testing.assert_array_equal(part["cls"], whole["cls"])
    means: Any = engine.run("encode", {"image": images}, (MEAN,))[MEAN]
    assert means.dtype == np.float32
    np.testing.assert_allclose(means, whole["semantics"].astype(float).mean(axis=1), rtol=1e-6)


def test_statistics_make_vectors_for_search_of_each_image_by_itself(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy", calibrated=True)
    engine, statistics = load(folder), read_statistics(read_bundle(folder))
    assert statistics is not None
    images = dark(3)
    want = results(images)
    made: dict[str, Any] = dict(engine.run("encode", {"image": images}, (WHITENED, CONCEPTS, *ENCODED)))
    assert all(made[name].dtype == np.float32 for name in (WHITENED, CONCEPTS))
    grey = want["semantics"].mean(axis=1)
    np.testing.assert_allclose(made[WHITENED], (grey - 0.1) * [1, 2, 3, 4], atol=1e-5)
    np.testing.assert_allclose(
        made[CONCEPTS], want["semantics"] - np.array([0, 0.1, 0.2])[:, None], atol=1e-5
    )
    for i in range(3):
        alone = statistics.whitened(*(made[name][i] for name in ENCODED))
        np.testing.assert_array_equal(alone, made[WHITENED][i])


@pytest.mark.parametrize("pooled", ["shares", "cls"])
def test_what_is_whitened_may_be_something_else_than_the_mean(tmp_path: Path, pooled: str) -> None:
    about = {"default": "mean", "pooled": pooled, "shrinkage": 0.1, "pictures": 50, "judged": {}}
    engine = load(write_toy(tmp_path / "toy", calibrated=True, statistics=about))
    images = dark(2)
    want = results(images)
    vectors = {
        "cls": want["cls"],
        "shares": np.einsum("bnr,brd->bd", want["localization"], want["semantics"]),
    }
    vectors["shares"] = vectors["shares"] / 4
    made: Any = engine.run("encode", {"image": images}, (WHITENED,))[WHITENED]
    np.testing.assert_allclose(made, (vectors[pooled] - 0.1) * [1, 2, 3, 4], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "array", "told"),
    [
        ("center", np.zeros(5, np.float32), r"center: expected float32 \[4\], got float32 \[5\]"),
        ("whitening", np.full((4, 4), np.nan, np.float32), "whitening: expected finite numbers"),
        ("token_means", np.zeros((3, 4)), r"token_means: expected float32 \[3, 4\], got float64"),
    ],
)
def test_statistics_that_don_t_fit_are_refused(tmp_path: Path, name: str, array: Any, told: str) -> None:
    folder = write_toy(tmp_path / "toy", calibrated=True)
    save_file(toy_statistics() | {name: array}, folder / "statistics.safetensors")
    (folder / "bundle.json").rename(tmp_path / "before")
    before = json.loads((tmp_path / "before").read_text())
    write_manifest(folder, before | {"files": manifest_of(folder)["files"]})
    with pytest.raises(BundleError, match=rf"toy: statistics.safetensors: {told}"):
        load(folder)


def test_processor_runs_single_images_a_thread_each(toy_models: Path) -> None:
    engine = load(toy_models / "toy", threads=3)
    assert (engine.max_batch, engine.concurrency) == (1, 3)
    image = dark(1)
    alone, beside_others = (
        engine.run("encode", {"image": image}, crowded=crowded) for crowded in (False, True)
    )
    for name, array in alone.items():
        np.testing.assert_array_equal(array, beside_others[name])


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
        told = r"\w+ExecutionProvider can't be used: .* pip install 'stellar-service\[gpu\]'"
        with pytest.raises(DeviceError, match=told):
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
            r"reference.safetensors: semantics: expected float32 \[2, 5, 4\], got float32 \[2, 3, 4\]",
        ),
        ({"width": 6}, r"reference.safetensors: semantics: expected float32 \[2, 3, 6\]"),
        (
            {"patch_size": 2, "grid": [4, 4]},
            r"localization: expected float32 \[2, 16, 3\], got float32 \[2, 4, 3\]",
        ),
        ({"image_size": 12, "grid": [3, 3]}, r"image: expected uint8 \[2, 12, 12, 3\], got uint8 \[2, 8, 8"),
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
    write_manifest(folder, manifest)
    return folder


def replaced(folder: Path, name: str, text: str) -> Path:
    """Put another graph in a graph's place."""
    return exchanged(folder, name, onnx.parser.parse_model(HEADER + text).SerializeToString())


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("encoder.onnx", ENCODER.replace("Softmax<axis=-1>", "Log"), r"got -0\.\d+ and 0\.0"),
        ("encoder.onnx", ENCODER.replace("value_float=255.0", "value_float=0.0"), r"got -1\.0000 and 0\.0"),
        ("decoder.onnx", DECODER.replace("Mul(drawn, full)", "Sub(full, drawn)"), r"got 1\.0000 and \d\d"),
    ],
)
def test_results_that_deviate_from_the_model_are_refused(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    """As those of an engine in too few bits: wrong numbers, numbers that are none, another picture."""
    folder = replaced(write_toy(tmp_path / "toy"), name, text)
    told = r"CPUExecutionProvider deviates from the model: expected a cosine of at least 0.999 and at most 8 "
    with pytest.raises(BundleError, match=told + r"levels, " + message):
        load(folder)


def test_graph_without_an_output_is_refused(tmp_path: Path) -> None:
    text = ENCODER.replace(", float[b, 4] cls)", ")")
    with pytest.raises(
        BundleError, match=r"expected outputs \['cls', .*\], got \['localization', 'semantics'\]"
    ):
        load(replaced(write_toy(tmp_path / "toy"), "encoder.onnx", text))


def test_graph_with_another_type_is_refused(tmp_path: Path) -> None:
    text = DECODER.replace("=> (uint8[", "=> (int8[").replace("Cast<to=2>(whole)", "Cast<to=3>(whole)")
    with pytest.raises(BundleError, match=r"output drawn: expected uint8 \[1, 8, 8, 3\], got int8"):
        load(replaced(write_toy(tmp_path / "toy"), "decoder.onnx", text))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no tensors", r"reference.safetensors can't be read"),
        (save({}), r"image: expected uint8 .* got nothing"),
    ],
)
def test_reference_that_is_none_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        load(exchanged(write_toy(tmp_path / "toy"), "reference.safetensors", data))


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

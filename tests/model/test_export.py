"""A bundle computes what the model computes, says what it is, and a broken one is never written."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from typer.testing import CliRunner

from model import Stellar, get_preset, load_checkpoint, parity, save_checkpoint
from model.cli import app
from model.export import export_bundle
from model.precision import Precision
from service.runtime.bundle import read_bundle

pytestmark = pytest.mark.long

MODEL = get_preset("debug", image_size=(32, 48))
OPTIONS: Mapping[Precision, tuple[str, ...]] = {
    "fp32": (),
    "fp16": ("--tensorrt",),  # which means fp16, and is no other graph
    "int8": ("--precision", "int8"),
}
GRAPHS = ("encoder.onnx", "decoder.onnx")
HALF, FULL = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "debug.safetensors"
    save_checkpoint(Stellar(MODEL), path)
    return path


class Said(logging.Handler):
    """What is logged meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(scope="module")
def said() -> Iterator[Said]:
    """What the exports say."""
    said = Said()
    logging.getLogger().addHandler(said)
    yield said
    logging.getLogger().removeHandler(said)


@pytest.fixture(scope="module")
def bundles(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, said: Said) -> dict[Precision, Path]:
    """A bundle of the model in each precision, as the command makes it."""
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "quality.json").write_text('{"psnr_db": 12.5, "not_measured": {"lpips": "needs weights"}}')
    for precision, options in OPTIONS.items():
        out = ("--out", str(folder / precision), "--name", "debug", "--quality", str(folder / "quality.json"))
        exported = CliRunner().invoke(app, ["export", str(checkpoint), *out, *options])
        assert exported.exit_code == 0, exported.stderr
        assert "localization_max_abs" in exported.stdout
    return {precision: folder / precision for precision in OPTIONS}


@pytest.fixture(scope="module")
def bundle(bundles: dict[Precision, Path]) -> Path:
    return bundles["fp32"]


@pytest.fixture(scope="module")
def vq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for TensorRT of a model that draws with the VQGAN."""
    folder = tmp_path_factory.mktemp("vq")
    torch.manual_seed(0)
    model = Stellar(get_preset("debug", depth=1, head="vq", vqgan_channels=32, patch_size=16))
    save_checkpoint(model, folder / "vq.safetensors")
    export_bundle(
        model,
        folder / "vq",
        name="vq",
        checkpoint=folder / "vq.safetensors",
        precision="fp16",
        for_tensorrt=True,
    )
    return folder / "vq"


def run(bundle: Path, graph: str, **feed: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(bundle / graph, providers=["CPUExecutionProvider"])
    return session.run(None, feed)  # type: ignore[no-any-return]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_graphs_compute_what_the_model_computes(checkpoint: Path, bundle: Path, batch_size: int) -> None:
    rng = np.random.default_rng(batch_size)
    image = rng.integers(0, 256, (batch_size, *MODEL.size, 3), dtype=np.uint8)
    semantics, localization, cls = run(bundle, "encoder.onnx", image=image)
    (redrawn,) = run(bundle, "decoder.onnx", semantics=semantics, localization=localization)
    model = load_checkpoint(checkpoint)
    with torch.no_grad():
        encoding, want = model(torch.from_numpy(image).permute(0, 3, 1, 2) / 255)
        drawn = model.render(encoding.sparse, want).permute(0, 2, 3, 1) * 255
    np.testing.assert_allclose(semantics, encoding.sparse, atol=1e-4)
    np.testing.assert_allclose(localization, want, atol=1e-4)
    np.testing.assert_allclose(cls, encoding.cls[:, 0], atol=1e-4)
    assert redrawn.dtype == np.uint8
    assert np.abs(redrawn - drawn.numpy()).max() <= 1


def test_manifest_tells_what_the_bundle_is(checkpoint: Path, bundle: Path) -> None:
    manifest = json.loads((bundle / "bundle.json").read_text())
    assert {key: manifest[key] for key in ("format", "name", "precision", "image_size", "patch_size")} == {
        "format": 2,
        "name": "debug",
        "precision": "fp32",
        "image_size": [32, 48],
        "patch_size": 8,
    }
    assert manifest["grid"] == [4, 6]
    assert manifest["quality"] == {"psnr_db": 12.5}
    assert manifest["source"]["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    for name, entry in manifest["files"].items():
        content = (bundle / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert manifest["opset"] == onnx.load(bundle / "encoder.onnx").opset_import[0].version
    assert manifest["parity"]["localization_max_abs"] <= 1e-4
    assert read_bundle(bundle).manifest.name == "debug"  # as the service does


def test_graphs_name_no_file_of_the_machine_that_made_them(bundle: Path) -> None:
    for graph in GRAPHS:
        content = (bundle / graph).read_bytes()
        assert b"stack_trace" not in content
        assert Path(__file__).parents[2].as_posix().encode() not in content


@pytest.mark.parametrize(("precision", "cosine"), [("fp16", 0.9999), ("int8", 0.99)])
def test_reduced_precision_is_smaller_and_its_deviation_is_measured(
    bundles: dict[Precision, Path], precision: Precision, cosine: float
) -> None:
    manifest, full = (json.loads((bundles[kind] / "bundle.json").read_text()) for kind in (precision, "fp32"))
    assert manifest["precision"] == precision
    assert cosine <= manifest["parity"]["cosine_min"] <= 1
    assert manifest["parity"]["semantics_max_abs"] > full["parity"]["semantics_max_abs"]
    assert manifest["version"] != full["version"]
    assert manifest["files"]["encoder.onnx"]["bytes"] < full["files"]["encoder.onnx"]["bytes"]


def test_exports_say_nothing_of_libraries_inside(bundles: dict[Precision, Path], said: Said) -> None:
    assert len(bundles) == 3
    assert [record.getMessage() for record in said.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("precision", get_args(Precision))
def test_a_picture_s_answer_is_the_same_alone_and_in_company(
    bundles: dict[Precision, Path], precision: Precision
) -> None:
    """Among black, white and noisy pictures, whose ranges are others."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, *MODEL.size, 3), dtype=np.uint8)
    image[1:4] //= 9
    image[4], image[5] = 0, 255
    together = run(bundles[precision], "encoder.onnx", image=image)
    drawn = run(bundles[precision], "decoder.onnx", semantics=together[0], localization=together[1])[0]
    for i in range(len(image)):
        alone = run(bundles[precision], "encoder.onnx", image=image[i : i + 1])
        for one, many in zip(alone, together, strict=True):
            np.testing.assert_allclose(one[0], many[i], atol=1e-4 if precision != "fp16" else 1e-2)
        semantics, localization = (array[i : i + 1] for array in together[:2])
        (redrawn,) = run(bundles[precision], "decoder.onnx", semantics=semantics, localization=localization)
        assert np.abs(redrawn[0].astype(int) - drawn[i]).max() <= 1


def test_int8_products_are_one_operator_with_fixed_ranges(bundles: dict[Precision, Path]) -> None:
    for graph in GRAPHS:
        operators = Counter(node.op_type for node in onnx.load(bundles["int8"] / graph).graph.node)
        assert operators["MatMulIntegerToFloat"] > 1
        assert operators.keys().isdisjoint({"DynamicQuantizeLinear", "MatMulInteger"})


@pytest.mark.parametrize(("precision", "blocks"), [("fp32", 2), ("int8", 2), ("fp16", 0)])
def test_a_processor_s_graphs_have_attention_as_one_operator_and_patches_as_a_product(
    bundles: dict[Precision, Path], precision: Precision, blocks: int
) -> None:
    operators = [node.op_type for node in onnx.load(bundles[precision] / "encoder.onnx").graph.node]
    assert operators.count("MultiHeadAttention") == blocks
    assert operators.count("Conv") == (not blocks)


def test_a_bundle_for_tensorrt_is_fp16_with_norms_and_softmax_in_fp32(
    bundles: dict[Precision, Path], vq: Path
) -> None:
    for graph in (folder / name for folder in (bundles["fp16"], vq) for name in GRAPHS):
        inferred = onnx.shape_inference.infer_shapes(onnx.load(graph), strict_mode=True).graph
        types = {value.name: value.type.tensor_type.elem_type for value in inferred.value_info}
        types |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
        inputs = {
            kind: {types[node.input[0]] for node in inferred.node if node.op_type == kind}
            for kind in ("MatMul", "Gelu", "LayerNormalization", "Softmax")
        }
        assert inputs["LayerNormalization"] == inputs["Softmax"] == {FULL}
        assert inputs["Gelu"] == {HALF}
        assert HALF in inputs["MatMul"]


def test_graphs_of_another_model_fail_the_parity_check(bundle: Path) -> None:
    torch.manual_seed(1)
    other = Stellar(MODEL).eval()
    with pytest.raises(parity.ParityError, match="semantics_max_abs: expected at most"):
        parity.check(parity.measure(other, bundle), "fp32")
    other.sparse_tokens.data[0, 0] = float("nan")
    with pytest.raises(parity.ParityError, match="graphs give numbers that are not finite"):
        parity.check(parity.measure(other, bundle), "fp32")


def test_a_model_that_is_not_finite_writes_no_bundle(checkpoint: Path, tmp_path: Path) -> None:
    model = Stellar(get_preset("debug", depth=1))
    model.sparse_tokens.data[0, 0] = float("nan")
    with pytest.raises(parity.ParityError, match="model gives numbers that are not finite: semantics, loc"):
        export_bundle(model, tmp_path / "broken", name="broken", checkpoint=checkpoint)
    assert list(tmp_path.iterdir()) == []

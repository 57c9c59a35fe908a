"""Graphs that TensorRT takes whole, as far as that can be told without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import onnx.parser
import pytest
import torch

from model import Stellar, get_preset, save_checkpoint
from model.config import StellarConfig
from model.export import export_bundle
from model.precision import Precision
from model.tensorrt import TensorRTError, check

SMALL = get_preset("debug", depth=1)
HALF, FULL = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


def export(config: StellarConfig, folder: Path, precision: Precision) -> Path:
    """A bundle of a model with random weights, for TensorRT."""
    torch.manual_seed(0)
    model, checkpoint = Stellar(config), folder / "a.safetensors"
    save_checkpoint(model, checkpoint)
    export_bundle(
        model, folder / "a", name="a", checkpoint=checkpoint, precision=precision, for_tensorrt=True
    )
    return folder / "a"


@pytest.mark.parametrize(
    "config",
    [SMALL, replace(SMALL, head="vq", vqgan_channels=32, patch_size=16)],
    ids=["pixel", "vq"],
)
def test_a_model_for_tensorrt_is_fp16_with_norms_and_softmax_in_fp32(
    config: StellarConfig, tmp_path: Path
) -> None:
    bundle = export(config, tmp_path, "fp16")
    for name in ("encoder.onnx", "decoder.onnx"):
        graph = onnx.shape_inference.infer_shapes(onnx.load(bundle / name), strict_mode=True).graph
        types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
        types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
        inputs = {
            kind: {types[node.input[0]] for node in graph.node if node.op_type == kind}
            for kind in ("MatMul", "Gelu", "LayerNormalization", "Softmax")
        }
        assert inputs["LayerNormalization"] == inputs["Softmax"] == {FULL}
        assert inputs["Gelu"] == {HALF}
        assert HALF in inputs["MatMul"]


def test_an_int8_bundle_for_tensorrt_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(TensorRTError, match="int8 as it is written here; expected fp16 or fp32"):
        export(SMALL, tmp_path, "int8")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize(
    ("opset", "graph", "told"),
    [
        (20, "(uint8[b, 4] x) => (uint8[4, b] y) { y = Transpose(x) }", "Transpose has bytes"),
        (20, "(float[b, c] x) => (float[c, b] y) { y = Transpose(x) }", "more than the batch varies in x"),
        (20, "(float[b, 4] x) => (float[b, 4] y) { y = Tan(x) }", "TensorRT has no operator Tan"),
        (24, "(float[b, 4] x) => (float[4, b] y) { y = Transpose(x) }", "opset of at most 20, got 24"),
        (20, "(float[b, 4] x) => (float16[4, b] y) { y = Transpose(x) }", "the types do not agree"),
    ],
)
def test_what_tensorrt_would_split_or_refuse_is_told(
    tmp_path: Path, opset: int, graph: str, told: str
) -> None:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> g {graph}')
    onnx.save(model, tmp_path / "g.onnx")
    with pytest.raises(TensorRTError, match=told):
        check(tmp_path / "g.onnx")

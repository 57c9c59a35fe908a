"""What TensorRT would not take whole is refused; test_export.py has what it does take."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser
import pytest

from model import PRESETS, Stellar
from model.export import export_bundle
from model.tensorrt import TensorRTError, check


def test_an_int8_bundle_for_tensorrt_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    model, checkpoint = Stellar(PRESETS["debug"]), tmp_path / "a.safetensors"
    with pytest.raises(TensorRTError, match="int8 as it is written here; expected fp16 or fp32"):
        export_bundle(
            model, tmp_path / "a", name="a", checkpoint=checkpoint, precision="int8", for_tensorrt=True
        )
    assert list(tmp_path.iterdir()) == []


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

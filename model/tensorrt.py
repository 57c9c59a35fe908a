"""Whether TensorRT can take a graph whole: it has no operators for some things, and then splits the graph.

A split graph would need a shape profile for every cut, and copies between providers at each.
"""

from __future__ import annotations

from pathlib import Path

import onnx

# What every TensorRT 10 reads, as far as our models may come to it. The list is in docs/operators.md of
# github.com/onnx/onnx-tensorrt.
NEWEST_OPSET = 20
NUMBERS = {"Add", "ArgMax", "Cast", "Clip", "Cos", "Div", "Mul", "ReduceL2", "Round", "Sigmoid", "Sin", "Sub"}
LAYERS = {"Conv", "ConvTranspose", "Gelu", "InstanceNormalization", "LayerNormalization", "MatMul", "Resize"}
SHAPES = {"Concat", "Expand", "Gather", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Unsqueeze"}
OPERATORS = {*NUMBERS, *LAYERS, *SHAPES, "Softmax", "Transpose"}

BYTES = onnx.TensorProto.UINT8


class TensorRTError(RuntimeError):
    """A graph that TensorRT can't take whole; the message says what is in the way."""


def check(path: Path) -> None:
    """Raise `TensorRTError` where the graph in `path` would not run on TensorRT as a whole.

    Its types must be sound on their own, its operators known, bytes cast as they come in or go out, and only
    the batch may vary.
    """
    model = onnx.load(path)
    if (opset := model.opset_import[0].version) > NEWEST_OPSET:
        raise TensorRTError(f"{path.name}: expected an opset of at most {NEWEST_OPSET}, got {opset}")
    for node in model.graph.node:
        if node.op_type not in OPERATORS:
            raise TensorRTError(f"{path.name}: TensorRT has no operator {node.op_type} ({node.name})")
    for value in model.graph.input:
        _, *rest = value.type.tensor_type.shape.dim
        if not all(dim.HasField("dim_value") for dim in rest):
            raise TensorRTError(f"{path.name}: more than the batch varies in {value.name}")
    try:
        graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise TensorRTError(f"{path.name}: the types do not agree: {error}") from error
    values = [*graph.input, *graph.output, *graph.value_info]
    of_bytes = {value.name for value in values if value.type.tensor_type.elem_type == BYTES}
    for node in graph.node:
        if node.op_type != "Cast" and of_bytes & {*node.input, *node.output}:
            raise TensorRTError(
                f"{path.name}: {node.op_type} has bytes, which TensorRT only casts ({node.name})"
            )

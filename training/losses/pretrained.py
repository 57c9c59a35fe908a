"""A network that others trained, frozen: what it sees in a picture and in each place of it.

B batch · t, u pixels of its input · C its channels · h, w its grid · T its tokens
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import onnxruntime as ort
import torch
from jaxtyping import Float
from torch import Tensor, nn

from service.tokens.size import sides
from training.config import DistillationConfig


class Seen(NamedTuple):
    """What a teacher says of a batch of pictures."""

    whole: Float[Tensor, "B C"]
    """Of each picture: the mean of its map, or the first of its tokens where some stand before the grid."""
    grid: Float[Tensor, "B C h w"] | None
    """Of each place; None where it only knows whole pictures."""


class Pretrained:
    """A teacher by its name; its weights are no part of a run's state.

    What it answers first is taken: a map (B, C, h, w) as of convolutions, tokens (B, T, C) as of
    transformers, whose last ones are a grid in the input's shape, or one vector of each picture (B, C).
    """

    def __init__(self, config: DistillationConfig, device: torch.device) -> None:
        """Load the teacher and look at a black picture with it.

        Raises `ValueError` where it is not there, can't be loaded, or doesn't take such pictures.
        """
        assert config.teacher is not None
        self.name, self.size = config.teacher, config.size
        self.mean, self.std = (
            torch.tensor(values, device=device).view(3, 1, 1) for values in (config.mean, config.std)
        )
        is_file = config.teacher.endswith(".onnx")
        self.network = _Onnx(Path(config.teacher)) if is_file else _module(config.teacher, device)
        try:
            seen = self(torch.zeros(1, 3, *sides(config.size), device=device))
        except Exception as error:  # whatever a stranger's network raises
            raise ValueError(
                f"distillation.teacher: {self.name} takes no pictures of {config.size} pixels "
                f"(distillation.size): {error}"
            ) from error
        self.channels, self.has_grid = seen.whole.shape[1], seen.grid is not None

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "B 3 t u"]) -> Seen:
        """What it sees in RGB pictures in [0, 1]; in float32."""
        with torch.autocast(images.device.type, enabled=False):
            answer = self.network((images - self.mean) / self.std)
        while isinstance(answer, list | tuple | Mapping):
            answer = next(iter(answer.values() if isinstance(answer, Mapping) else answer), None)
        if not isinstance(answer, Tensor) or answer.ndim not in (2, 3, 4):
            got = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
            raise ValueError(f"expected (B, C, h, w), (B, T, C) or (B, C) from it, got {got}")
        return _seen(answer.float(), (images.shape[2], images.shape[3]))


class _Onnx:
    """An ONNX graph of one input, on the CPU."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ValueError(f"distillation.teacher: no file is called {path}")
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own types are many and undocumented
            raise ValueError(f"distillation.teacher: {path} can't be loaded: {error}") from error
        self.input = self.session.get_inputs()[0].name

    def __call__(self, images: Tensor) -> Tensor:
        answer = self.session.run(None, {self.input: images.cpu().numpy()})[0]
        return torch.from_numpy(answer).to(images.device)


def _module(name: str, device: torch.device) -> nn.Module:
    """What a function makes that is named as `package.module:function`."""
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(
            f"distillation.teacher: expected a file called ….onnx, or package.module:function, got {name}"
        )
    try:
        network = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"distillation.teacher: {name} can't be imported: {error}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"distillation.teacher: expected a torch module of {name}, got {network!r}")
    return network.to(device).eval().requires_grad_(False)


def _seen(answer: Tensor, size: tuple[int, int]) -> Seen:
    """What it says of pictures of H and W pixels; patches are squares, as many as there can be."""
    if answer.ndim == 2:
        return Seen(answer, None)
    if answer.ndim == 4:
        return Seen(answer.mean(dim=(2, 3)), answer)
    shape = [side // math.gcd(*size) for side in size]
    times = math.isqrt(answer.shape[1] // math.prod(shape))
    if not times:
        raise ValueError(
            f"expected tokens on a grid in the shape of {size[0]} × {size[1]} pixels, "
            f"got {answer.shape[1]}: choose a size that its patches divide"
        )
    h, w = (times * side for side in shape)
    first = answer.shape[1] - h * w
    patches = answer[:, first:]
    grid = patches.transpose(1, 2).reshape(len(answer), -1, h, w)
    return Seen(answer[:, 0] if first else patches.mean(dim=1), grid)

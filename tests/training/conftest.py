"""What the training tests share: a folder of small pictures, and random views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from training.data.views import Views


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve smooth random pictures of several shapes and formats, some in a folder below."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "more" / "deep").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for index in range(12):
        coarse = Image.fromarray(draw.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        place = folder / "more" / "deep" if index % 3 == 0 else folder
        suffix = ("jpg", "png", "webp")[index % 3]
        coarse.resize((48 + 8 * (index % 4), 56), Image.Resampling.BICUBIC).save(place / f"{index}.{suffix}")
    return folder


@pytest.fixture(scope="session")
def unit(fixtures: Path) -> dict[str, Tensor]:
    """Reference tensors of the single pieces."""
    return load_file(fixtures / "unit.safetensors")


@pytest.fixture
def views() -> Views:
    """Views of three pictures for the debug model: two masked views, two local crops, a teacher's."""
    draw = torch.Generator().manual_seed(5)
    return Views(
        reference=torch.rand(3, 3, 32, 32, generator=draw),
        masked=torch.rand(3, 2, 3, 32, 32, generator=draw),
        local=torch.rand(3, 2, 3, 16, 16, generator=draw),
        taught=torch.rand(3, 3, 16, 16, generator=draw),
    )

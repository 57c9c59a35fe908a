"""ST-LPIPS by our network and the shipped weights, against what the package's own code answered."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.evaluation.alexnet import AlexNet, ShiftTolerantLPIPS, shipped_weights

OF_THE_PACKAGE = [0.00190549, 0.07145585, 0.16682543]
"""LPIPS(net="alex", variant="shift_tolerant") of stlpips-pytorch 0.0.2, `normalize=True`, of each pair."""


def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """Three pictures of smooth colours, and the same moved, with noise, and dark."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:64, 0:64] / 64
    waves = rng.uniform(1, 9, (3, 3, 2))
    real = np.stack([[np.sin(a * x + b * y) / 2 + 0.5 for a, b in picture] for picture in waves])
    other = real.copy()
    other[0] = np.roll(real[0], 1, axis=2)
    other[1] += rng.normal(0, 0.05, real[1].shape)
    other[2] /= 2
    return torch.tensor(real, dtype=torch.float32), torch.tensor(other, dtype=torch.float32)


def test_distances_are_those_of_the_package() -> None:
    metric = ShiftTolerantLPIPS(shipped_weights())
    real, other = pairs()
    for expected, one, another in zip(OF_THE_PACKAGE, real, other, strict=True):
        metric.reset()
        metric.update(another[None], one[None])
        assert float(metric.compute()) == pytest.approx(expected, rel=1e-4)
    metric.reset()
    metric.update(other[:1], real[:1])
    metric.update(other[1:], real[1:])
    assert float(metric.compute()) == pytest.approx(sum(OF_THE_PACKAGE) / 3, rel=1e-4)


def test_equal_pictures_have_no_distance_and_one_vector_each() -> None:
    metric, network = ShiftTolerantLPIPS(shipped_weights()), AlexNet(shipped_weights())
    real, _ = pairs()
    metric.update(real, real)
    assert float(metric.compute()) == 0
    assert network(real).shape == (3, network.num_features)

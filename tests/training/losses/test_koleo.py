"""KoLeo against its reference value and gradient, and a loop over pairs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from training.losses.koleo import koleo


def test_reference_value_and_gradient(unit: dict[str, Tensor]) -> None:
    tokens = unit["koleo.x"].clone().requires_grad_()
    loss = koleo(tokens)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(loss, unit["koleo.loss"], atol=0, rtol=2e-6)
    torch.testing.assert_close(tokens.grad, unit["koleo.grad"], atol=1e-7, rtol=0)


def test_is_the_mean_log_distance_to_the_nearest_neighbour() -> None:
    tokens = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(3))
    expected = []
    for image in tokens:
        points = [token / token.norm() for token in image]
        for i, point in enumerate(points):
            nearest = min(float((point - other).norm()) for j, other in enumerate(points) if j != i)
            expected.append(-math.log(nearest / 2 + 1e-8))
    assert koleo(tokens).item() == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_equal_tokens_give_a_finite_loss_and_gradient() -> None:
    tokens = torch.ones(1, 3, 4, requires_grad=True)
    loss = koleo(tokens)
    loss.backward()  # type: ignore[no-untyped-call]
    assert tokens.grad is not None
    assert loss.isfinite()
    assert tokens.grad.isfinite().all()


def test_a_single_token_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 tokens or more, got 1"):
        koleo(torch.ones(1, 1, 4))

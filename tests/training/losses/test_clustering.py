"""Targets and cross-entropy of the clustering heads against reference tensors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.losses.clustering import assign, cross_entropy


@pytest.mark.parametrize("head", ["oc1", "oc2", "oc_none"])
def test_reference_assignments_and_loss(unit: dict[str, Tensor], head: str) -> None:
    logits = unit[f"{head}.logits"]
    assignments = assign(logits)
    torch.testing.assert_close(assignments, unit[f"{head}.assignments"], atol=2e-6, rtol=0)
    torch.testing.assert_close(cross_entropy(logits, assignments), unit[f"{head}.loss"], atol=0, rtol=2e-6)


def test_reference_gradient_of_the_plain_head(unit: dict[str, Tensor]) -> None:
    weight = unit["oc_none.sd.layer.weight"].clone().requires_grad_()
    logits = torch.nn.functional.normalize(unit["oc_none.x"], dim=-1) @ weight.T
    cross_entropy(logits, assign(logits)).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(weight.grad, unit["oc_none.grad_layer"], atol=2e-6, rtol=0)


def test_targets_carry_no_gradient() -> None:
    assert not assign(torch.randn(2, 3, 4, requires_grad=True)).requires_grad


def test_the_loss_of_a_perfect_prediction_is_the_targets_entropy() -> None:
    assignments = torch.tensor([[0.25, 0.75]])
    entropy = -(assignments * assignments.log()).sum()
    torch.testing.assert_close(cross_entropy(assignments.log() * 0.12, assignments), entropy)

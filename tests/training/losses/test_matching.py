"""Token matching against reference plans and known permutations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.losses.matching import match, transport_plan


@pytest.mark.parametrize("case", ["matcher", "matcher2"])
def test_reference_plan_and_matches(unit: dict[str, Tensor], case: str) -> None:
    predicted, targets = unit[f"{case}.preds"], unit[f"{case}.targets"]
    torch.testing.assert_close(transport_plan(predicted, targets), unit[f"{case}.P"], atol=5e-6, rtol=0)
    assert torch.equal(match(predicted, targets), unit[f"{case}.idx"])


def test_shuffled_tokens_find_themselves() -> None:
    tokens = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    assert torch.equal(match(tokens[:, order], tokens), order.expand(2, -1))


def test_two_tokens_may_share_a_match() -> None:
    targets = torch.tensor([[[0.0, 0.0], [9.0, 0.0], [9.0, 0.1]]])
    predicted = torch.tensor([[[0.0, 0.0], [9.0, 0.0], [9.0, 0.0]]])
    assert match(predicted, targets)[0, 1] == match(predicted, targets)[0, 2]


def test_no_gradient_passes() -> None:
    tokens = torch.randn(1, 4, 8, requires_grad=True)
    assert not transport_plan(tokens, tokens).requires_grad

"""Sharpness against entropies worked out by hand, and against a loop."""

from __future__ import annotations

import math

import pytest
import torch

from training.losses.sharpness import sharpness


def test_lowest_where_every_patch_has_one_token_and_tokens_are_used_alike() -> None:
    assert sharpness(torch.eye(4)[None]).item() == pytest.approx(-0.75 * math.log(4))


def test_giving_the_whole_image_to_one_token_gains_nothing() -> None:
    one = torch.zeros(1, 6, 4)
    one[..., 2] = 1
    assert sharpness(one).item() == 0
    assert sharpness(torch.full((1, 6, 4), 0.25)).item() == pytest.approx(0.25 * math.log(4))


def test_is_entropy_of_rows_less_a_part_of_the_entropy_of_the_mean_row() -> None:
    localization = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)

    def entropy(row: list[float]) -> float:
        return -sum(p * math.log(p) for p in row)

    rows = [entropy(row.tolist()) for image in localization for row in image]
    means = [entropy(image.mean(dim=0).tolist()) for image in localization]
    expected = sum(rows) / len(rows) - 0.75 * sum(means) / len(means)
    assert sharpness(localization).item() == pytest.approx(expected, rel=1e-5)


def test_a_descent_makes_rows_sharper() -> None:
    logits = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    before = logits.softmax(dim=-1).amax(dim=-1).mean()
    for _ in range(50):
        (gradient,) = torch.autograd.grad(sharpness(logits.softmax(dim=-1)), logits)
        logits = (logits - 5 * gradient).detach().requires_grad_()
    assert logits.softmax(dim=-1).amax(dim=-1).mean() > before + 0.2

"""What a token's number tells of it, against a plain formula."""

from __future__ import annotations

import pytest
import torch

from training.losses.numbering import numbering


def random_tokens(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def test_is_the_variance_of_the_numbers_means_over_that_of_all_tokens() -> None:
    tokens = random_tokens(5, 3, 4)
    every = [token for image in tokens for token in image]
    middle = sum(every, torch.zeros(4)) / 15
    means = [sum(tokens[:, number], torch.zeros(4)) / 5 for number in range(3)]
    between = sum(float((mean - middle) @ (mean - middle)) for mean in means) / 3
    total = sum(float((token - middle) @ (token - middle)) for token in every) / 15
    assert numbering(tokens).item() == pytest.approx(between / total, rel=1e-5)


def test_is_one_where_a_number_says_all_and_nothing_where_it_says_nothing() -> None:
    same_in_every_picture = random_tokens(1, 3, 4).expand(6, 3, 4)
    assert numbering(same_in_every_picture).item() == pytest.approx(1)
    same_in_every_number = random_tokens(6, 1, 4).expand(6, 3, 4)
    assert numbering(same_in_every_number).item() == pytest.approx(0, abs=1e-6)


def test_learning_by_it_takes_the_number_off() -> None:
    tokens = (random_tokens(8, 4, 6) + 3 * random_tokens(1, 4, 6)).requires_grad_()
    before = numbering(tokens).item()
    for _ in range(50):
        (gradient,) = torch.autograd.grad(numbering(tokens), tokens)
        tokens = (tokens - 50 * gradient).detach().requires_grad_()
    assert before > 0.5
    assert numbering(tokens).item() < 0.1


def test_equal_tokens_give_a_finite_loss_and_gradient() -> None:
    tokens = torch.ones(2, 3, 4, requires_grad=True)
    loss = numbering(tokens)
    loss.backward()  # type: ignore[no-untyped-call]
    assert tokens.grad is not None
    assert loss.isfinite()
    assert tokens.grad.isfinite().all()


def test_a_single_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 pictures or more, got 1"):
        numbering(torch.ones(1, 3, 4))

"""What a token's neighbours tell of its number, against a loop over them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from training.losses.numbering import numbering


def random_tokens(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def test_is_the_divergence_of_the_neighbours_votes_from_equal_ones() -> None:
    tokens = random_tokens(5, 3, 4)
    divergences = []
    for picture in range(5):
        for number in range(3):
            votes = [0.0, 0.0, 0.0]
            for other in range(5):
                for candidate in range(3):
                    cosine = float(
                        F.cosine_similarity(tokens[picture, number], tokens[other, candidate], dim=0)
                    )
                    votes[candidate] += math.exp(cosine / 0.1) if other != picture else 0.0
            shares = [vote / sum(votes) for vote in votes]
            divergences.append(sum(share * math.log(share / (1 / 3)) for share in shares))
    assert numbering(tokens).item() == pytest.approx(sum(divergences) / 15, rel=1e-4)


def test_is_largest_where_a_number_says_all_and_zero_where_it_says_nothing() -> None:
    same_in_every_picture = torch.eye(3, 4).expand(6, 3, 4)
    assert numbering(same_in_every_picture).item() == pytest.approx(math.log(3), abs=1e-2)
    same_in_every_number = random_tokens(6, 1, 4).expand(6, 3, 4)
    assert numbering(same_in_every_number).item() == pytest.approx(0, abs=1e-5)


def test_it_sees_numbers_with_equal_means_and_directions_of_their_own() -> None:
    signs = torch.tensor([1.0, -1.0]).repeat(4)[:, None, None]
    tokens = signs * torch.eye(3, 6)
    assert tokens.mean(dim=0).abs().max() == 0
    assert numbering(tokens).item() > 0.9 * math.log(3)


def test_learning_by_it_takes_the_number_off() -> None:
    tokens = (random_tokens(8, 4, 6) + 3 * random_tokens(1, 4, 6)).requires_grad_()
    before = numbering(tokens).item()
    for _ in range(100):
        (gradient,) = torch.autograd.grad(numbering(tokens), tokens)
        tokens = (tokens - 20 * gradient).detach().requires_grad_()
    assert before > 0.5
    assert numbering(tokens).item() < 0.5 * before


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

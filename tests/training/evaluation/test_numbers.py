"""How often the nearest token of another picture has the same number."""

from __future__ import annotations

import pytest
import torch

from training.evaluation.numbers import same_number


def test_tokens_that_are_their_number_always_find_it() -> None:
    torch.manual_seed(0)
    tokens = torch.eye(4, 8).expand(5, 4, 8) + 0.01 * torch.randn(5, 4, 8)
    assert same_number(tokens) == 1


def test_is_what_a_loop_over_pairs_finds() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(40, 3, 4)
    found = 0
    for picture in range(40):
        for number in range(3):
            best, of = -2.0, -1
            for other in range(40):
                for candidate in range(3):
                    cosine = float(
                        torch.cosine_similarity(tokens[picture, number], tokens[other, candidate], dim=0)
                    )
                    if other != picture and cosine > best:
                        best, of = cosine, candidate
            found += of == number
    assert same_number(tokens) == pytest.approx(found / 120)
    assert 0.1 < found / 120 < 0.6


def test_a_single_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 pictures or more, got 1"):
        same_number(torch.zeros(1, 3, 4))

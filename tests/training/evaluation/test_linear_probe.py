"""The linear probe beside scikit-learn's logistic regression."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from training.evaluation.linear_probe import linear_probe


def test_it_is_as_right_as_logistic_regression() -> None:
    digits = load_digits()
    features = torch.from_numpy(digits.data).float()
    labels = torch.from_numpy(digits.target).long()
    known, asked = slice(0, 1200), slice(1200, None)
    got = linear_probe(features[known], labels[known], features[asked], labels[asked])
    reference = LogisticRegression(max_iter=2000).fit(features[known].numpy() / 16, labels[known].numpy())
    assert got == pytest.approx(
        reference.score(features[asked].numpy() / 16, labels[asked].numpy()), abs=0.03
    )


def test_features_that_say_nothing_give_chance() -> None:
    draw = torch.Generator().manual_seed(0)
    features, queries = torch.randn(500, 8, generator=draw), torch.randn(500, 8, generator=draw)
    labels, wanted = (torch.randint(10, (500,), generator=draw) for _ in range(2))
    assert linear_probe(features, labels, queries, wanted) < 0.2

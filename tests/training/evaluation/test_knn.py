"""Nearest neighbours on features that are made for it."""

from __future__ import annotations

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from training.evaluation.knn import chance, knn_accuracy


def test_separate_clusters_are_told_apart() -> None:
    torch.manual_seed(0)
    centres = 5 * torch.eye(3, 8)
    labels = torch.arange(3).repeat(20)
    gallery, queries = (centres[labels] + 0.1 * torch.randn(60, 8) for _ in range(2))
    assert knn_accuracy(gallery, labels, queries, labels, k=5) == 1
    assert knn_accuracy(gallery, labels, queries, (labels + 1) % 3, k=5) == 0


def test_one_neighbour_is_the_nearest_by_cosine() -> None:
    torch.manual_seed(0)
    gallery, queries = torch.randn(50, 6), torch.randn(40, 6)
    known, asked = torch.randint(4, (50,)), torch.randint(4, (40,))
    nearest = KNeighborsClassifier(1, metric="cosine").fit(gallery.numpy(), known.numpy())
    want = nearest.score(queries.numpy(), asked.numpy())
    assert knn_accuracy(gallery, known, queries, asked, k=1) == pytest.approx(want)


def test_nearer_neighbours_weigh_more() -> None:
    gallery = torch.tensor([[1.0, 0.0], [0.5, 1.0], [0.5, 1.0]])
    labels = torch.tensor([0, 1, 1])
    assert knn_accuracy(gallery, labels, torch.tensor([[1.0, 0.05]]), torch.tensor([0]), k=3) == 1


def test_chance_is_the_most_frequent_labels_share() -> None:
    assert chance(torch.tensor([0, 1, 1]), torch.tensor([1, 1, 0, 0, 0])) == pytest.approx(0.4)


def test_left_out_one_by_one_nobody_votes_for_themselves() -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(60, 6), torch.randint(4, (60,))
    right = 0.0
    for i in range(60):
        others = torch.arange(60) != i
        right += knn_accuracy(features[others], labels[others], features[i][None], labels[i][None], k=5)
    assert knn_accuracy(features, labels, features, labels, k=5, leave_one_out=True) == right / 60
    assert knn_accuracy(features, labels, features, labels, k=1) == 1

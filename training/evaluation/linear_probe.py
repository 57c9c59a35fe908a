"""A linear classifier on frozen features: logistic regression, as strong a penalty as held-out pictures want.

M training pictures · Q held-out pictures · D feature width · C classes
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

PENALTIES = (1e-2, 1e-3, 1e-4)
"""Weights of the squared norm, from strong to weak, as far as they gain on the held-out pictures."""
HELD_OUT = 10
"""One in so many training pictures is held out to choose the penalty."""
MAX_ITERATIONS = 100
FLOOR = 1e-3
"""Added to every direction's variance, as a share of their mean: what hardly varies is not blown up."""


class Classifier(NamedTuple):
    """Logits are features · weightᵀ + bias."""

    weight: Float[Tensor, "C D"]
    bias: Float[Tensor, " C"]

    def accuracy(self, features: Float[Tensor, "M D"], labels: Int[Tensor, " M"]) -> float:
        """The share of pictures that it names right, in [0, 1]."""
        return float((F.linear(features, *self).argmax(dim=1) == labels).float().mean())


def linear_probe(
    features: Float[Tensor, "M D"],
    labels: Int[Tensor, " M"],
    queries: Float[Tensor, "Q D"],
    query_labels: Int[Tensor, " Q"],
) -> float:
    """Accuracy on the queries, in [0, 1], of a linear classifier trained on the features.

    Features are whitened by the training set's covariance, so that L-BFGS converges; whatever a linear
    classifier can say of the features it can say of these. The penalty is chosen on a tenth of the training
    set, the same every time; then all of it is learnt.
    """
    mean = features.mean(dim=0)
    directions = _whitening(features - mean)
    known, asked = (features - mean) @ directions, (queries - mean) @ directions
    num_classes = int(torch.cat([labels, query_labels]).max()) + 1
    order = torch.randperm(len(known), generator=torch.Generator().manual_seed(0)).to(known.device)
    held, rest = order[: len(order) // HELD_OUT], order[len(order) // HELD_OUT :]
    start = Classifier(known.new_zeros(num_classes, known.shape[1]), known.new_zeros(num_classes))
    best, chosen, reached = start, PENALTIES[0], -1.0
    for penalty in PENALTIES:
        classifier = _fit(known[rest], labels[rest], penalty, best)
        accuracy = classifier.accuracy(known[held], labels[held])
        if accuracy <= reached:
            break
        best, chosen, reached = classifier, penalty, accuracy
    return _fit(known, labels, chosen, best).accuracy(asked, query_labels)


def _whitening(centred: Float[Tensor, "M D"]) -> Float[Tensor, "D D"]:
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
    return directions / (variances.clamp(min=0) + FLOOR * variances.mean()).sqrt()  # type: ignore[no-any-return]


def _fit(
    features: Float[Tensor, "M D"], labels: Int[Tensor, " M"], penalty: float, start: Classifier
) -> Classifier:
    """Minimise the cross-entropy and penalty / 2 times the squared weights, beginning at a classifier."""
    fitted = Classifier(*(part.clone().requires_grad_() for part in start))
    optimizer = torch.optim.LBFGS(fitted, max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        errors = F.cross_entropy(F.linear(features, *fitted), labels)
        total: Tensor = errors + penalty / 2 * fitted.weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return Classifier(*(part.detach() for part in fitted))

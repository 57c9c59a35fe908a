"""Weighted nearest neighbours on frozen features (Wu et al. 2018, as DINO uses it).

M gallery pictures · Q queries · D feature width
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

TEMPERATURE = 0.07
QUERIES_AT_ONCE = 1000
"""Their similarities to the whole gallery are held in memory."""


def knn_accuracy(
    gallery: Float[Tensor, "M D"],
    gallery_labels: Int[Tensor, " M"],
    queries: Float[Tensor, "Q D"],
    query_labels: Int[Tensor, " Q"],
    k: int,
    *,
    leave_one_out: bool = False,
) -> float:
    """Share of queries whose label wins the vote of the k most similar gallery pictures, in [0, 1].

    Similarity is the cosine; a vote weighs exp(cosine / 0.07). With `leave_one_out` the queries are the
    gallery, and nobody votes for themselves.
    """
    known = F.normalize(gallery, dim=1)
    num_labels = int(torch.cat([gallery_labels, query_labels]).max()) + 1
    right = 0
    of_all = torch.arange(len(queries)), queries, query_labels
    for index, asked, wanted in zip(*(torch.split(part, QUERIES_AT_ONCE) for part in of_all), strict=True):
        similarity = F.normalize(asked, dim=1) @ known.T  # (q, M)
        if leave_one_out:
            similarity[torch.arange(len(asked)), index] = -torch.inf
        nearest, voters = similarity.topk(min(k, len(known) - leave_one_out), dim=1)
        weights = ((nearest - nearest[:, :1]) / TEMPERATURE).exp()
        votes = weights.new_zeros(len(asked), num_labels).scatter_add_(1, gallery_labels[voters], weights)
        right += int((votes.argmax(dim=1) == wanted).sum())
    return right / len(queries)


def chance(gallery_labels: Int[Tensor, " M"], query_labels: Int[Tensor, " Q"]) -> float:
    """Accuracy of always answering the gallery's most frequent label, in [0, 1]."""
    return float((query_labels == gallery_labels.mode().values).float().mean())

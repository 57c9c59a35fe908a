"""A linear classifier on frozen features.

M training pictures · Q held-out pictures · D feature width
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

EPOCHS = 30
BATCH_SIZE = 512
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-4


def linear_probe(
    features: Float[Tensor, "M D"],
    labels: Int[Tensor, " M"],
    queries: Float[Tensor, "Q D"],
    query_labels: Int[Tensor, " Q"],
) -> float:
    """Accuracy on the queries, in [0, 1], of a linear classifier trained on the features.

    Features are standardised by the training set's means and deviations; the classifier is trained with
    AdamW, a cosine schedule and always the same draws.
    """
    mean, deviation = features.mean(dim=0), features.std(dim=0) + 1e-6
    known, asked = (features - mean) / deviation, (queries - mean) / deviation
    classifier = nn.Linear(known.shape[1], int(torch.cat([labels, query_labels]).max()) + 1)
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    classifier.to(known.device)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    batches_of_epoch = -(-len(known) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * batches_of_epoch)
    draw = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        for index in torch.randperm(len(known), generator=draw).to(known.device).split(BATCH_SIZE):  # type: ignore[no-untyped-call]
            loss = F.cross_entropy(classifier(known[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        return float((classifier(asked).argmax(dim=1) == query_labels).float().mean())

"""The same losses as one would first write them, to measure the training step against: one view at a time.

Each view goes through the model by itself, with all of its patches embedded; targets and matching are made
anew for each. Products and attention are PyTorch's own. This stands in for published code, and is none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from model import Encoding, Stellar, vit
from training.data.views import Views
from training.losses.clustering import assign, cross_entropy
from training.losses.koleo import koleo
from training.losses.matching import match
from training.losses.named import Losses
from training.losses.objective import Objective


class ViewByView(Objective):
    """STELLAR's losses without a teacher, view by view."""

    def forward(self, views: Views, kept: Tensor | None = None) -> Losses:
        assert kept is not None
        model, reference = self.model, self.model.encode(views.reference)
        localization = model.localize(reference.dense, reference.sparse)
        named = self._picture_losses(views.reference, reference.sparse, localization)
        named["koleo"] = koleo(reference.sparse)
        named["clustering"] = self._clustered(model.clustering_head, reference.sparse, reference.sparse)
        named["cls_clustering"] = self._clustered(model.cls_cluster_head, reference.cls, reference.cls)
        masked: list[dict[str, Tensor]] = []
        for image, ids in zip(views.masked.unbind(1), kept.unbind(1), strict=True):
            seen = encode_all_patches(model, image, ids)
            index = match(seen.sparse.detach(), reference.sparse.detach())
            masked.append(
                {
                    "masked": self._clustered(model.clustering_head, seen.sparse, reference.sparse, index),
                    "masked_cls": self._clustered(model.cls_cluster_head, seen.cls, reference.cls),
                    "masked_koleo": koleo(seen.sparse),
                }
            )
        local = [model.encode(image).cls for image in views.local.unbind(1)]
        named |= {name: torch.stack([losses[name] for losses in masked]).mean() for name in masked[0]}
        head = model.cls_cluster_head
        named["local_cls"] = torch.stack([self._clustered(head, cls, reference.cls) for cls in local]).mean()
        weighted = [getattr(self.weights, name) * loss for name, loss in named.items()]
        return Losses(torch.stack(weighted).sum(), named)

    def _clustered(
        self, head: Callable[[Tensor], Tensor], tokens: Tensor, targets: Tensor, index: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy of tokens with the assignments of their targets, in the order of `index`."""
        with torch.no_grad():
            assignments = assign(head(targets))
        if index is not None:
            assignments = torch.stack([rows[order] for rows, order in zip(assignments, index, strict=True)])
        return cross_entropy(head(tokens), assignments)


def encode_all_patches(model: Stellar, image: Tensor, kept: Tensor) -> Encoding:
    """Embed every patch, then leave out those that are hidden."""
    sequence = model.embedding((image - model.mean) / model.std)
    places = kept[:, :, None].expand(-1, -1, sequence.shape[2])
    tokens = model.sparse_tokens.expand(len(image), -1, -1)
    seen = torch.cat([sequence[:, :1], sequence[:, 1:].gather(1, places), tokens], dim=1)
    parts = model.transformer(seen).split([1, kept.shape[1], tokens.shape[1]], dim=1)
    return Encoding(*parts)


@contextmanager
def plain_pytorch() -> Iterator[None]:
    """Products and attention as PyTorch does them by itself."""
    with (
        mock.patch("model.linear.linear", F.linear),
        mock.patch.object(vit, "_attend", F.scaled_dot_product_attention),
    ):
        yield

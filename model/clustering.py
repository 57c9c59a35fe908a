"""The clustering heads: tokens to scores over K prototypes.

They are part of the published checkpoints; the targets they learn from are made in `training`.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from model.factorization import NORMALIZE_EPS
from model.linear import Linear


class ClusteringHead(nn.Module):
    """MLP D -> hidden -> prototype width, L2-normalised, then dot products with K free prototypes."""

    def __init__(
        self, width: int, *, predictor_width: int, prototype_width: int, num_prototypes: int
    ) -> None:
        super().__init__()
        self.fc1 = Linear(width, predictor_width)
        self.fc2 = Linear(predictor_width, prototype_width)
        self.prototypes = Linear(prototype_width, num_prototypes, bias=False)
        nn.init.normal_(self.prototypes.weight)

    def forward(self, tokens: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch K"]:
        """Logits in fp32, before any temperature."""
        projected = self.fc2(F.gelu(self.fc1(tokens)))
        directions = F.normalize(projected.float(), dim=-1, eps=NORMALIZE_EPS)
        return self.prototypes(directions).float()  # type: ignore[no-any-return]

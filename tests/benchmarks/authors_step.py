"""The authors' way to STELLAR's losses, to measure the training step against.

Written from the paper (arXiv:2602.01905) in plain PyTorch, on the parameters of our model; it stands in for
the published code and is none of it. Views of a kind go through the encoder in one batch: the reference (the
first masked view's crop), the masked views and the local crops. Of a masked view all patches are embedded,
and the kept ones gathered once they have their positions. Products are `F.linear`, attention is
`F.scaled_dot_product_attention`, and weights are cast by autocast.

B images of a call · T sequence length · N patches · K kept patches (in `kept`) or prototypes (elsewhere) ·
r sparse tokens · D width
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from model import Encoding, Stellar
from model.clustering import ClusteringHead
from model.factorization import NORMALIZE_EPS, SPATIAL_TEMPERATURE
from model.vit import Block, Transformer
from training.config import TrainingConfig
from training.data.views import Views
from training.losses.clustering import PREDICTION_TEMPERATURE, TARGET_TEMPERATURE
from training.losses.matching import EPSILON
from training.losses.named import Losses

EPS = 1e-8


class AuthorsStep(nn.Module):
    """The losses of the paper's recipe, without a teacher."""

    def __init__(self, model: Stellar, config: TrainingConfig) -> None:
        super().__init__()
        self.model, self.weights = model, config.losses

    def forward(self, views: Views, kept: Int[Tensor, "B V K"]) -> Losses:
        model = self.model
        reference = encode(model, views.reference)
        masked = encode(model, views.masked.flatten(0, 1), kept.flatten(0, 1))
        local = encode(model, views.local.flatten(0, 1))
        token_logits = scores(model.clustering_head, reference.sparse)
        cls_logits = scores(model.cls_cluster_head, reference.cls)
        token_targets, cls_targets = sinkhorn(token_logits), sinkhorn(cls_logits)
        num_masked, num_local = views.masked.shape[1], views.local.shape[1]
        matched = match(masked.sparse, reference.sparse.repeat_interleave(num_masked, dim=0))
        of_tokens = token_targets.repeat_interleave(num_masked, dim=0)
        of_tokens = of_tokens.gather(1, matched[:, :, None].expand_as(of_tokens))
        of_masked, of_local = (cls_targets.repeat_interleave(num, dim=0) for num in (num_masked, num_local))
        named = {
            "reconstruction": reconstruction(model, views.reference, reference),
            "koleo": koleo(reference.sparse),
            "masked_koleo": koleo(masked.sparse),
            "clustering": cross_entropy(token_logits, token_targets),
            "masked": cross_entropy(scores(model.clustering_head, masked.sparse), of_tokens),
            "cls_clustering": cross_entropy(cls_logits, cls_targets),
            "masked_cls": cross_entropy(scores(model.cls_cluster_head, masked.cls), of_masked),
            "local_cls": cross_entropy(scores(model.cls_cluster_head, local.cls), of_local),
        }
        weighted = [getattr(self.weights, name) * loss for name, loss in named.items()]
        return Losses(torch.stack(weighted).sum(), named)


def encode(
    model: Stellar, image: Float[Tensor, "B 3 H W"], kept: Int[Tensor, "B K"] | None = None
) -> Encoding:
    """Embed every patch, leave out those that are hidden, and encode the rest."""
    sequence = model.embedding((image - model.mean) / model.std)  # (B, 1 + N, D)
    cls, patches = sequence[:, :1], sequence[:, 1:]
    if kept is not None:
        patches = patches.gather(1, kept[:, :, None].expand(-1, -1, patches.shape[2]))
    tokens = model.sparse_tokens.expand(len(image), -1, -1)
    mixed = transformed(model.transformer, torch.cat([cls, patches, tokens], dim=1))
    end = 1 + patches.shape[1]
    return Encoding(mixed[:, :1], mixed[:, 1:end], mixed[:, end:])


def transformed(transformer: Transformer, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
    """Pre-norm blocks and the last LayerNorm."""
    for block in transformer.blocks:
        assert isinstance(block, Block)
        x = x + attention(block, block.norm_before(x))
        x = x + product(block.fc2, F.gelu(product(block.fc1, block.norm_after(x))))
    return transformer.norm(x)  # type: ignore[no-any-return]


def attention(block: Block, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
    """Multi-head self-attention."""
    layer, (batch, length, width) = block.attention, x.shape
    qkv = product(layer.qkv, x).view(batch, length, 3, layer.num_heads, width // layer.num_heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    mixed = F.scaled_dot_product_attention(q, k, v)
    return product(layer.output, mixed.transpose(1, 2).reshape(batch, length, width))


def product(layer: nn.Linear, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch C"]:
    """A linear layer as PyTorch computes it by itself."""
    return F.linear(x, layer.weight, layer.bias)


def reconstruction(model: Stellar, image: Float[Tensor, "B 3 H W"], seen: Encoding) -> Float[Tensor, ""]:
    """Squared error of the pixels, or cross-entropy over the VQGAN's codes, that Z = L S is decoded to."""
    factorization, decoder, side = model.factorization, model.decoder, model.config.grid[0]
    patches = unit(product(factorization.dense_proj, seen.dense), NORMALIZE_EPS)
    tokens = unit(product(factorization.sparse_proj, seen.sparse), NORMALIZE_EPS)
    with torch.autocast(image.device.type, enabled=False):
        localization = (patches @ tokens.transpose(1, 2) / SPATIAL_TEMPERATURE).softmax(dim=2)
    places = product(decoder.projection, localization @ seen.sparse) + decoder.position_code((side, side))
    features = transformed(decoder.transformer, places)
    if model.config.head == "pixel":
        plane = features.transpose(1, 2).reshape(len(features), -1, side, side)
        return F.mse_loss(model.reconstruction_head(plane).float(), image)
    with torch.no_grad():
        codes = model.vq_targets(image)
    return F.cross_entropy(model.reconstruction_head(features).float().flatten(0, 1), codes.flatten())


def scores(head: ClusteringHead, tokens: Float[Tensor, "B P D"]) -> Float[Tensor, "B P K"]:
    """Logits over prototypes."""
    directions = unit(product(head.fc2, F.gelu(product(head.fc1, tokens))), NORMALIZE_EPS)
    return product(head.prototypes, directions).float()


def unit(vectors: Float[Tensor, "*batch D"], eps: float) -> Float[Tensor, "*batch D"]:
    """Vectors of length 1, in float32."""
    return F.normalize(vectors.float(), dim=-1, eps=eps)


@torch.no_grad()
def sinkhorn(logits: Float[Tensor, "B P K"]) -> Float[Tensor, "B P K"]:
    """Targets of all tokens jointly, by three iterations."""
    rows = logits.flatten(0, 1) / TARGET_TEMPERATURE
    rows = (rows - rows.amax(dim=0)).exp()
    for _ in range(3):
        rows = rows / (rows.sum(dim=0) + EPS)
        rows = rows / (rows.sum(dim=1, keepdim=True) + EPS)
    return rows.view_as(logits)


@torch.no_grad()
def match(predicted: Float[Tensor, "B P D"], targets: Float[Tensor, "B r D"]) -> Int[Tensor, "B P"]:
    """The target that gets most of each predicted token in an entropic transport plan."""
    with torch.autocast(predicted.device.type, enabled=False):
        affinity = torch.cdist(predicted.float(), targets.float()) / -EPSILON
    gap = math.log(affinity.shape[1] / affinity.shape[2])
    columns = torch.zeros_like(affinity[:, :1])
    for _ in range(5):
        rows = -(affinity + columns).logsumexp(dim=2, keepdim=True)
        columns = gap - (affinity + rows).logsumexp(dim=1, keepdim=True)
    return (affinity + rows + columns).argmax(dim=2)


def cross_entropy(logits: Float[Tensor, "B P K"], targets: Float[Tensor, "B P K"]) -> Float[Tensor, ""]:
    """Of softmax(logits / 0.12) against the targets, over all tokens."""
    return -(targets * (logits / PREDICTION_TEMPERATURE).log_softmax(dim=2)).sum(dim=2).mean()


def koleo(tokens: Float[Tensor, "B r D"]) -> Float[Tensor, ""]:
    """How near each image's tokens are to their nearest neighbours."""
    with torch.autocast(tokens.device.type, enabled=False):
        directions = unit(tokens, EPS)
        own = torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device)
        with torch.no_grad():
            nearest = (directions @ directions.transpose(1, 2)).masked_fill(own, -2).argmax(dim=2)
        neighbours = directions.gather(1, nearest[:, :, None].expand_as(directions))
        return -(F.pairwise_distance(directions, neighbours, eps=EPS) / 2 + EPS).log().mean()

"""The training objective: every loss by its name, and their weighted total (STELLAR, section 3).

B batch · H, W pixels · s pixels of a local crop's side · V masked views · M local crops ·
K kept patches (in `kept`) or prototypes (elsewhere) · r sparse tokens · P predicted tokens · D encoder width
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from model import Encoding, Stellar, Tokens
from training.config import TrainingConfig
from training.data.views import Views
from training.losses.autoencoding import MaskedAutoencoding
from training.losses.clustering import assign, cross_entropy
from training.losses.distillation import Distillation
from training.losses.koleo import koleo
from training.losses.matching import match
from training.losses.named import Losses
from training.losses.numbering import numbering
from training.losses.pretrained import Pretrained
from training.losses.sharpness import sharpness
from training.losses.teacher import Teacher


class Objective(nn.Module):
    """Computes the losses whose weight is above 0 and whose views are there.

    Without a teacher the targets are made from the reference view itself. With one, it sees the whole picture
    of the second masked view, and the reference tokens, too, are matched to its tokens.
    """

    def __init__(self, model: Stellar, config: TrainingConfig) -> None:
        super().__init__()
        self.model = model
        self.weights = config.losses
        self.teacher = Teacher(model, config.teacher_momentum) if config.teacher else None
        self.distillation = None
        if config.distils:
            device = model.mean.device
            pretrained = Pretrained(config.distillation, device)
            self.distillation = Distillation(
                pretrained, model.config.width, model.config.grid, config.losses, config.distillation.momentum
            ).to(device)

    def forward(
        self,
        views: Views,
        kept: Int[Tensor, "B V K"] | None = None,
    ) -> Losses:
        """Losses of a batch of views; images are RGB in [0, 1].

        `kept` says which patches of each masked view are seen (`draw_kept`); without it, all are.
        Raises `ValueError` where no loss with a weight has its views.
        """
        reference = self.model.encode(views.reference)
        masked = self._encode_masked(views.masked, kept)
        local = self._encode_local(views.local)
        source = reference if self.teacher is None else self.teacher.average.encode_tokens(views.masked[:, 1])

        named: dict[str, Tensor] = {}
        if self.weights.want("reconstruction", "sharpness", "distil_dense", "distil_tokens"):
            localization = self.model.localize(reference.dense, reference.sparse)
            named |= self._picture_losses(views.reference, reference.sparse, localization)
        else:
            localization = None
        if self.distillation is not None and views.taught is not None:
            named |= self.distillation(views.taught, reference, localization)
        if self.weights.want("koleo"):
            named["koleo"] = koleo(reference.sparse)
        if self.weights.want("numbering"):
            named["numbering"] = numbering(reference.sparse)
        if masked is not None and self.weights.want("masked_koleo"):
            named["masked_koleo"] = koleo(masked.sparse)
        if self.weights.want("clustering", "masked"):
            named |= self._token_losses(reference, masked, source)
        if self.weights.want("cls_clustering", "masked_cls", "local_cls"):
            named |= self._cls_losses(reference, masked, local, source)
        if not named:
            raise ValueError("views: expected those that a loss with a weight looks at, got none")
        weighted = [getattr(self.weights, name) * loss for name, loss in named.items()]
        return Losses(torch.stack(weighted).sum(), named)

    def _encode_masked(
        self, images: Float[Tensor, "B V 3 H W"], kept: Int[Tensor, "B V K"] | None
    ) -> Tokens | None:
        """All masked views in one batch of B·V."""
        if images.shape[1] == 0 or not self.weights.want("masked", "masked_cls", "masked_koleo"):
            return None
        return self.model.encode_tokens(images.flatten(0, 1), None if kept is None else kept.flatten(0, 1))

    def _encode_local(self, images: Float[Tensor, "B M 3 s s"]) -> Float[Tensor, "BM 1 D"] | None:
        """CLS of all local crops in one batch of B·M."""
        if images.shape[1] == 0 or not self.weights.want("local_cls"):
            return None
        return self.model.encode_cls(images.flatten(0, 1))

    def _picture_losses(
        self,
        image: Float[Tensor, "B 3 H W"],
        sparse: Float[Tensor, "B r D"],
        localization: Float[Tensor, "B N r"],
    ) -> dict[str, Float[Tensor, ""]]:
        """Of the reference view's localization, and of the picture that it gives."""
        losses: dict[str, Tensor] = {}
        if self.weights.want("sharpness"):
            losses["sharpness"] = sharpness(localization)
        if self.weights.want("reconstruction"):
            losses["reconstruction"] = self._reconstruction(image, sparse, localization)
        return losses

    def _reconstruction(
        self,
        image: Float[Tensor, "B 3 H W"],
        sparse: Float[Tensor, "B r D"],
        localization: Float[Tensor, "B N r"],
    ) -> Float[Tensor, ""]:
        """Mean squared error of pixels in [0, 1], or cross-entropy over the VQGAN's codes."""
        patch = self.model.config.patch_size
        grid = image.shape[2] // patch, image.shape[3] // patch
        prediction = self.model.predict(self.model.decode(sparse, localization, grid), grid).float()
        if self.model.config.head == "pixel":
            return F.mse_loss(prediction, image)
        with torch.no_grad():
            codes = self.model.vq_targets(image)
        return F.cross_entropy(prediction.flatten(0, 1), codes.flatten())

    def _token_losses(
        self, reference: Encoding, masked: Tokens | None, source: Encoding | Tokens
    ) -> dict[str, Float[Tensor, ""]]:
        logits = self.model.clustering_head(reference.sparse)  # (B, r, K)
        losses: dict[str, Tensor] = {}
        if self.teacher is None:
            own = assignments = assign(logits)
        else:
            assignments = assign(self.teacher.average.clustering_head(source.sparse))
            own = _matched(reference.sparse, source.sparse, assignments)
        if self.weights.want("clustering"):
            losses["clustering"] = cross_entropy(logits, own)
        if masked is not None and self.weights.want("masked"):
            predictions = self.model.clustering_head(masked.sparse)  # (B V, r, K)
            losses["masked"] = cross_entropy(predictions, _matched(masked.sparse, source.sparse, assignments))
        return losses

    def _cls_losses(
        self,
        reference: Encoding,
        masked: Tokens | None,
        local: Float[Tensor, "BM 1 D"] | None,
        source: Encoding | Tokens,
    ) -> dict[str, Float[Tensor, ""]]:
        head = self.model.cls_cluster_head
        logits = head(reference.cls)  # (B, 1, K)
        teacher = self.teacher
        assignments = assign(logits if teacher is None else teacher.average.cls_cluster_head(source.cls))
        losses: dict[str, Tensor] = {}
        if self.weights.want("cls_clustering"):
            losses["cls_clustering"] = cross_entropy(logits, assignments)
        for name, cls in (("masked_cls", None if masked is None else masked.cls), ("local_cls", local)):
            if cls is not None and self.weights.want(name):
                losses[name] = cross_entropy(head(cls), _repeated(assignments, cls))
        return losses


def make_objective(model: Stellar, config: TrainingConfig) -> Objective | MaskedAutoencoding:
    """The objective that the configuration names."""
    return Objective(model, config) if config.objective == "stellar" else MaskedAutoencoding(model)


def _repeated(
    of_pictures: Float[Tensor, "B ..."], of_views: Float[Tensor, "BV ..."]
) -> Float[Tensor, "BV ..."]:
    """What each picture has, once for each of its views."""
    return of_pictures.repeat_interleave(of_views.shape[0] // of_pictures.shape[0], dim=0)


def _matched(
    predicted: Float[Tensor, "BV P D"], tokens: Float[Tensor, "B r D"], assignments: Float[Tensor, "B r K"]
) -> Float[Tensor, "BV P K"]:
    """For each predicted token the assignment of the token of its picture that it matches."""
    index = match(predicted.detach(), _repeated(tokens.detach(), predicted))  # (B V, P)
    rows = torch.arange(index.shape[0], device=index.device) * assignments.shape[0] // index.shape[0]
    return assignments[rows[:, None], index]

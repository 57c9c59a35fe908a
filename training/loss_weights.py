"""How much each loss weighs in the total."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from training.expected import expect


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """The weight of each loss in the total; a loss of weight 0 is not computed (STELLAR, section 3)."""

    reconstruction: float = 10.0
    """Squared error of pixels, the mean over all of them; cross-entropy over codes has 0.05 in the paper."""
    koleo: float = 0.1
    """Spread of the reference view's tokens."""
    clustering: float = 1.0
    """Assignment of the reference view's tokens to prototypes."""
    cls_clustering: float = 1.0
    """Assignment of the reference view's CLS."""
    masked: float = 1.0
    """Tokens of the masked views predict the assignments of the tokens that they match."""
    masked_cls: float = 1.0
    """CLS of the masked views predicts the CLS assignment."""
    masked_koleo: float = 0.1
    """Spread of the masked views' tokens."""
    local_cls: float = 1.0
    """CLS of the local crops predicts the CLS assignment."""
    sharpness: float = 0.0
    """Patches of the reference view belong to few tokens; not of the paper."""
    numbering: float = 0.0
    """How much of the reference view's tokens their number explains; not of the paper."""
    distil_mean: float = 0.0
    """The mean of the reference view's tokens tells what a pretrained teacher sees in the picture."""
    distil_cls: float = 0.0
    """The reference view's CLS tells the same."""
    distil_dense: float = 0.0
    """Z = L S tells what the teacher sees in each place."""
    distil_tokens: float = 0.0
    """Each token tells what the teacher sees where the token lies."""

    def __post_init__(self) -> None:
        for loss in fields(self):
            expect(f"losses.{loss.name}", getattr(self, loss.name), "a finite number, 0 or more", low=0)
        if not self.wanted:
            raise ValueError("losses: expected a weight above 0, got none")

    @property
    def wanted(self) -> tuple[str, ...]:
        """The losses with a weight above 0."""
        return tuple(loss.name for loss in fields(self) if self.want(loss.name))

    def only(self, *names: str) -> LossWeights:
        """These weights with all losses but the named ones at 0."""
        return replace(self, **{loss.name: 0.0 for loss in fields(self) if loss.name not in names})

    def want(self, *names: str) -> bool:
        """Whether any of these losses has a weight above 0."""
        return any(getattr(self, name) > 0 for name in names)


OF_VIEWS = {"masked_views": ("masked", "masked_cls", "masked_koleo"), "local_crops": ("local_cls",)}
"""The losses that need other views than the reference, by the setting that says how many there are."""

DISTILLED = ("distil_mean", "distil_cls", "distil_dense", "distil_tokens")
"""The losses that need a pretrained teacher."""

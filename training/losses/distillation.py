"""Learning from a pretrained teacher: tokens, CLS and Z = L S tell through linear heads what it sees.

B batch · N patches · r sparse tokens · D width · t, u pixels of the teacher's input ·
C its channels · h, w its grid · P things that are compared: pictures, places or tokens
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from model import Encoding
from model.linear import Linear
from training.loss_weights import DISTILLED, LossWeights
from training.losses.pretrained import Pretrained, Seen

EPS = 1e-8


class Distillation(nn.Module):
    """A teacher, and the heads that speak its language: they are a run's state, but no part of the model.

    Every loss is the mean of 1 - cosine between what a head says and the teacher's features less their
    running mean, which pictures and places have in common.
    """

    centre: Tensor
    grid_centre: Tensor
    num_seen: Tensor

    def __init__(
        self, teacher: Pretrained, width: int, grid: tuple[int, int], weights: LossWeights, momentum: float
    ) -> None:
        """For a model of this width and this grid of patches.

        Raises `ValueError` where the teacher has no grid and a loss with a weight wants one.
        """
        super().__init__()
        self.teacher, self.grid, self.weights, self.momentum = teacher, grid, weights, momentum
        if weights.want("distil_dense", "distil_tokens") and not teacher.has_grid:
            raise ValueError(
                f"losses: distil_dense and distil_tokens want a teacher that sees places; {teacher.name} has "
                "one vector for each picture"
            )
        self.heads = nn.ModuleDict(
            {name: Linear(width, teacher.channels) for name in DISTILLED if weights.want(name)}
        )
        self.register_buffer("centre", torch.zeros(teacher.channels))
        self.register_buffer("grid_centre", torch.zeros(teacher.channels))
        self.register_buffer("num_seen", torch.zeros(()))

    def forward(
        self,
        images: Float[Tensor, "B 3 t u"],
        encoding: Encoding,
        localization: Float[Tensor, "B N r"] | None,
    ) -> dict[str, Float[Tensor, ""]]:
        """The losses with a weight, of pictures in [0, 1] and what the model says of them; in float32."""
        seen = self.teacher(images)
        if self.training:
            self._move_centres(seen.whole, seen.grid)
        with torch.autocast(images.device.type, enabled=False):
            return self._losses(seen, encoding.sparse.float(), encoding.cls.float(), localization)

    def _losses(
        self,
        seen: Seen,
        sparse: Float[Tensor, "B r D"],
        cls: Float[Tensor, "B 1 D"],
        localization: Float[Tensor, "B N r"] | None,
    ) -> dict[str, Float[Tensor, ""]]:
        losses: dict[str, Tensor] = {}
        whole = seen.whole - self.centre
        if "distil_mean" in self.heads:
            losses["distil_mean"] = distance(self.heads["distil_mean"](sparse.mean(dim=1)), whole)
        if "distil_cls" in self.heads:
            losses["distil_cls"] = distance(self.heads["distil_cls"](cls[:, 0]), whole)
        if seen.grid is None or localization is None:
            return losses
        grid = seen.grid.shape[2:]
        places = (seen.grid - self.grid_centre[:, None, None]).flatten(2).transpose(1, 2)  # (B, h w, C)
        if "distil_dense" in self.heads:
            there = on_grid(localization @ sparse, self.grid, grid)  # (B, h w, D)
            losses["distil_dense"] = distance(self.heads["distil_dense"](there), places)
        if "distil_tokens" in self.heads:
            shares = on_grid(localization.detach(), self.grid, grid)  # (B, h w, r)
            areas = shares.sum(dim=1)  # (B, r)
            under = shares.transpose(1, 2) @ places / (areas[:, :, None] + EPS)  # (B, r, C)
            losses["distil_tokens"] = distance(self.heads["distil_tokens"](sparse), under, areas)
        return losses

    @torch.no_grad()
    def _move_centres(self, whole: Float[Tensor, "B C"], grid: Float[Tensor, "B C h w"] | None) -> None:
        """Move the running means towards a batch's; the first ones are plain means of what was seen."""
        self.num_seen += 1
        pace = torch.maximum(1 / self.num_seen, self.num_seen.new_tensor(1 - self.momentum))
        self.centre.lerp_(_mean_over_processes(whole.mean(dim=0)), pace)
        if grid is not None:
            self.grid_centre.lerp_(_mean_over_processes(grid.mean(dim=(0, 2, 3))), pace)


def on_grid(
    patches: Float[Tensor, "B N D"], own: tuple[int, int], other: tuple[int, int] | torch.Size
) -> Float[Tensor, "B hw D"]:
    """What patches of a grid say in the places of another one: linear in between, and antialiased."""
    plane = patches.transpose(1, 2).reshape(len(patches), -1, *own)
    resampled = F.interpolate(plane, size=tuple(other), mode="bilinear", antialias=True)
    return resampled.flatten(2).transpose(1, 2)


def distance(
    said: Float[Tensor, "*P C"], seen: Float[Tensor, "*P C"], weights: Float[Tensor, "*P"] | None = None
) -> Float[Tensor, ""]:
    """The mean of 1 - cosine, weighted where there are weights."""
    distances = 1 - F.cosine_similarity(said, seen, dim=-1)
    if weights is None:
        return distances.mean()
    return (distances * weights).sum() / weights.sum()


def _mean_over_processes(values: Float[Tensor, " C"]) -> Float[Tensor, " C"]:
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(values)
        values /= dist.get_world_size()
    return values

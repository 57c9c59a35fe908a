"""What dropping a token changes: its own region, or the rest of the picture as well.

B batch · H, W pixels · N = h·w patches · r sparse tokens · T tokens that have a region
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from model import Stellar
from training.data.photos import sample_photos

LEAST_REGION = 0.02
"""Smaller regions than this share of the patches say nothing of an edit by themselves."""


class Change(NamedTuple):
    """Where a rendering changed: mean absolute changes of pixels, on [0, 1]."""

    inside: float
    outside: float
    share: float
    """Of the squared change, the part that lies inside."""


class Drop(NamedTuple):
    """One token dropped in one photo."""

    area: float
    """Share of the patches where the token is the largest: its region."""
    region: Change
    random: Change
    """The same change, told by as many patches drawn at random."""


@torch.no_grad()
def locality(model: Stellar) -> dict[str, float]:
    """How much more a dropped token changes its own region than the rest of the picture, on the photos.

    A token's region is where it has the largest share. `drop_…` look at tokens of at least 2 % of the
    patches: the ratio of mean absolute changes (its median), and the region's share of the squared change and
    of the area (means). `each_drop_…` are means over every token that has a region, however small, weighted
    equally, and `each_drop_random_…` the same for random regions of those sizes. A model that gives each
    photo to one token has no such figures.
    """
    generator = torch.Generator().manual_seed(0)
    photos = sample_photos(model.config.size).values()
    every = [drop for image in photos for drop in drops(model, image, generator)]
    large = [drop for drop in every if drop.area >= LEAST_REGION]
    figures: dict[str, float] = {}
    if large:
        ratios = [drop.region.inside / max(drop.region.outside, 1e-6) for drop in large]
        figures["drop_change_inside_to_outside"] = float(np.median(ratios))
        figures["drop_change_share_inside"] = float(np.mean([drop.region.share for drop in large]))
        figures["drop_area_share"] = float(np.mean([drop.area for drop in large]))
    if every:
        figures["each_drop_area_share"] = float(np.mean([drop.area for drop in every]))
        for prefix, changes in (
            ("each_drop", [drop.region for drop in every]),
            ("each_drop_random", [drop.random for drop in every]),
        ):
            inside, outside, share = np.mean(changes, axis=0)
            figures[f"{prefix}_change_inside"] = float(inside)
            figures[f"{prefix}_change_outside"] = float(outside)
            figures[f"{prefix}_share_inside"] = float(share)
    return figures


@torch.no_grad()
def drops(model: Stellar, image: Float[Tensor, "3 H W"], generator: torch.Generator) -> list[Drop]:
    """Drop every token that has a region, one at a time; none where one token takes the whole picture."""
    encoding, localization = model(image[None])
    regions = localization[0].argmax(dim=1)  # (N,)
    tokens = regions.unique().tolist()
    if len(tokens) == 1:
        return []
    edited = torch.cat([without(localization, token) for token in tokens])  # (T, N, r)
    before = model.render(encoding.sparse, localization)
    after = model.render(encoding.sparse.expand(len(tokens), -1, -1), edited)
    changes = (after - before).abs().mean(dim=1)  # (T, H, W)
    found = []
    for token, change in zip(tokens, changes, strict=True):
        region = regions == token
        random = torch.zeros_like(region)
        random[torch.randperm(len(region), generator=generator)[: int(region.sum())]] = True
        told = (compare(change, patches.view(model.config.grid)) for patches in (region, random))
        found.append(Drop(float(region.float().mean()), *told))
    return found


def compare(change: Float[Tensor, "H W"], region: Bool[Tensor, "h w"]) -> Change:
    """A rendering's absolute changes inside a region and outside; both have patches."""
    inside = F.interpolate(region[None, None].float(), size=change.shape)[0, 0].bool()  # (H, W)
    squared = change.square()
    return Change(
        inside=float(change[inside].mean()),
        outside=float(change[~inside].mean()),
        share=float(squared[inside].sum() / squared.sum().clamp(min=1e-12)),
    )


def without(localization: Float[Tensor, "B N r"], token: int) -> Float[Tensor, "B N r"]:
    """L with a token dropped and its rows made whole.

    A model's rows never lose everything: shares of a softmax over cosines / 0.06 are no less than about
    exp(-2 / 0.06), which fp32 holds.
    """
    kept = localization.clone()
    kept[..., token] = 0
    return kept / kept.sum(dim=-1, keepdim=True)

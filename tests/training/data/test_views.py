"""Views: sizes, ranges, what is coloured, and that draws repeat them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
import torch.nn.functional as F

from service.tokens.size import ImageSize
from training.config import DistillationConfig, TrainingConfig
from training.data.draws import Draws
from training.data.views import Views, make_views
from training.loss_weights import LossWeights
from training.recipes import get_recipe

CONFIG = get_recipe("debug", masked_views=3)


def views_of(
    pixels: torch.Tensor, config: TrainingConfig = CONFIG, seed: int = 0, size: ImageSize = 32
) -> Views:
    aspect = torch.linspace(0.5, 2, pixels.shape[0])
    return make_views(pixels, aspect, size, config, Draws(seed, pixels.shape[0]))


def random_pixels() -> torch.Tensor:
    return torch.randint(256, (4, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_sizes_and_range() -> None:
    views = views_of(random_pixels())
    assert views.reference.shape == (4, 3, 32, 32)
    assert views.masked.shape == (4, 3, 3, 32, 32)
    assert views.local.shape == (4, 2, 3, 16, 16)
    assert views.taught is None
    for images in views[:3]:
        assert images.dtype == torch.float32
        assert images.min() >= 0
        assert images.max() <= 1


@pytest.mark.parametrize("size", [(32, 48), (64, 32)])
def test_a_disc_in_a_wide_picture_is_round_in_views_of_any_shape(size: tuple[int, int]) -> None:
    """Up to a third, as in squares."""
    across, down = torch.meshgrid(torch.arange(240) + 0.5, torch.arange(120) + 0.5, indexing="xy")
    disc = ((across - 120) ** 2 + (down - 60) ** 2 < 16**2).float()
    stretched = F.interpolate(disc.expand(1, 3, 120, 240), size=(80, 80), mode="bilinear", antialias=True)
    pixels = (255 * stretched).to(torch.uint8).expand(256, 3, 80, 80)
    config = replace(CONFIG, masked_views=1, global_scale=(0.6, 1.0))
    views = make_views(pixels, torch.full((256,), 2.0), size, config, Draws(0, 256))
    assert views.masked.shape == (256, 1, 3, *size)
    assert views.local.shape == (256, 2, 3, 16, 16)
    assert views.reference.shape == (256, 3, *size)
    seen = views.reference[:, 0]  # (B, H, W)
    inside = seen[:, 1:-1, 1:-1].sum(dim=(1, 2))
    whole = seen[(inside > 1) & (seen.sum(dim=(1, 2)) - inside < 0.1)]  # with nothing of it on the rim
    assert len(whole) > 16
    ratios = (spread(whole.sum(dim=1)) / spread(whole.sum(dim=2))).log()
    assert ratios.abs().max() < math.log(4 / 3) + 0.03


def spread(weights: torch.Tensor) -> torch.Tensor:
    """The deviation of places along a side, in pixels, of each row of weights."""
    places, shares = torch.arange(weights.shape[1]), weights / weights.sum(dim=1, keepdim=True)
    apart = places - (shares * places).sum(dim=1, keepdim=True)
    return (shares * apart**2).sum(dim=1).sqrt()


def test_a_seed_repeats_its_views() -> None:
    first, again, other = (views_of(random_pixels(), seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first[:3], again[:3], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first[:3], other[:3], strict=True))


def test_only_the_reference_keeps_its_colours() -> None:
    colour = torch.tensor([200, 90, 30], dtype=torch.uint8)
    views = views_of(colour[None, :, None, None].expand(4, 3, 40, 40).contiguous())
    expected = (colour.float() / 255)[None, :, None, None]
    torch.testing.assert_close(views.reference, expected.expand(4, 3, 32, 32), atol=1e-5, rtol=0)
    for images in (views.masked, views.local):
        assert (images - expected).abs().amax((2, 3, 4)).max() > 0.05
        assert (images.amax((3, 4)) - images.amin((3, 4))).max() < 1e-4


def test_views_that_no_loss_looks_at_are_not_cut() -> None:
    config = get_recipe("debug", losses=LossWeights().only("reconstruction"))
    views = views_of(random_pixels(), config)
    assert views.masked.shape == (4, 0, 3, 32, 32)
    assert views.local.shape == (4, 0, 3, 16, 16)


def gradient_pixels() -> torch.Tensor:
    """Red says how far right a pixel is, green how far down: what blur leaves as it is, away from borders."""
    ramp = torch.linspace(0, 255, 160).to(torch.uint8)
    across, down = ramp.expand(160, 160), ramp[:, None].expand(160, 160)
    return torch.stack([across, down, torch.zeros_like(across)]).expand(4, 3, 160, 160).contiguous()


@pytest.mark.parametrize(("crop", "same"), [("first_masked", True), ("own", False)])
def test_the_reference_shows_what_the_first_masked_view_shows(
    crop: Literal["first_masked", "own"], same: bool
) -> None:
    inner = slice(8, -8)
    views = views_of(gradient_pixels(), replace(CONFIG, colour_strength=0.0, reference_crop=crop))
    apart = (views.masked - views.reference[:, None])[..., inner, inner].abs().amax((2, 3, 4))
    assert (apart[:, 0] < 0.01).all() == same
    assert (apart[:, 1:] > 0.02).all()


def test_without_masked_views_the_reference_is_a_crop_of_its_own() -> None:
    first, own = (
        views_of(random_pixels(), replace(CONFIG, masked_views=0, reference_crop=crop))
        for crop in ("first_masked", "own")
    )
    assert all(torch.equal(a, b) for a, b in zip(first[:3], own[:3], strict=True))


TAUGHT = get_recipe(
    "debug",
    losses=LossWeights(distil_mean=1.0),
    distillation=DistillationConfig(teacher="teacher.onnx", size=64),
)


def smooth_pixels() -> torch.Tensor:
    coarse = torch.rand(4, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    return (255 * F.interpolate(coarse, size=40, mode="bilinear")).to(torch.uint8)


@pytest.mark.parametrize("change", [{}, {"reference_colour_strength": 1.0}, {"mixing": 1.0}])
@pytest.mark.parametrize("size", [32, (24, 40)])
def test_a_teacher_sees_the_very_crop_at_its_own_size(size: ImageSize, change: dict[str, float]) -> None:
    views = views_of(smooth_pixels(), replace(TAUGHT, **change), size=size)  # type: ignore[arg-type]
    assert views.taught is not None
    assert views.taught.shape == (4, 3, 64, 64)
    smaller = F.interpolate(views.taught, size=size, mode="bilinear", antialias=True)
    assert (smaller - views.reference).abs().max() < 0.03


def test_a_teacher_changes_no_other_view() -> None:
    alone = views_of(random_pixels(), replace(CONFIG, losses=LossWeights()))
    taught = views_of(random_pixels(), replace(TAUGHT, masked_views=3))
    assert all(torch.equal(a, b) for a, b in zip(alone[:3], taught[:3], strict=True))


def test_the_reference_view_is_recoloured_where_that_is_wanted() -> None:
    colour = torch.tensor([200, 90, 30], dtype=torch.uint8)
    pixels = colour[None, :, None, None].expand(4, 3, 40, 40).contiguous()
    views = views_of(pixels, replace(CONFIG, reference_colour_strength=1.0))
    expected = (colour.float() / 255)[None, :, None, None]
    assert (views.reference - expected).abs().amax((1, 2, 3)).max() > 0.05


def test_views_are_mixed_by_twos_and_the_last_of_an_odd_batch_stays() -> None:
    grey = (torch.tensor([0, 200, 100, 240, 50], dtype=torch.uint8))[:, None, None, None]
    pixels = grey.expand(5, 3, 40, 40).contiguous()
    mixed = views_of(pixels, replace(CONFIG, mixing=1.0)).reference
    levels = 255 * mixed.mean(dim=(1, 2, 3))
    assert (mixed.amax((1, 2, 3)) - mixed.amin((1, 2, 3))).max() < 1e-4
    for first, second, low, high in ((0, 1, 0, 200), (2, 3, 100, 240)):
        for level in (levels[first], levels[second]):
            assert low < level < high
    assert levels[4].item() == pytest.approx(50, abs=0.01)


def test_mixing_by_chance_leaves_the_other_views_as_they_are() -> None:
    pixels = random_pixels().repeat(8, 1, 1, 1)
    plain = views_of(pixels).reference
    mixed = views_of(pixels, replace(CONFIG, mixing=0.5)).reference
    same = sum(torch.equal(a, b) for a, b in zip(plain, mixed, strict=True))
    assert 4 < same < 28

"""Views: sizes, ranges, what is coloured, and that draws repeat them."""

from __future__ import annotations

import torch

from training.config import LossWeights, TrainingConfig, get_recipe
from training.data.draws import Draws
from training.data.views import Views, make_views

CONFIG = get_recipe("debug", masked_views=3)


def views_of(pixels: torch.Tensor, config: TrainingConfig = CONFIG, seed: int = 0) -> Views:
    aspect = torch.linspace(0.5, 2, pixels.shape[0])
    return make_views(pixels, aspect, 32, config, Draws(seed, pixels.shape[0]))


def random_pixels() -> torch.Tensor:
    return torch.randint(256, (4, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_sizes_and_range() -> None:
    views = views_of(random_pixels())
    assert views.reference.shape == (4, 3, 32, 32)
    assert views.masked.shape == (4, 3, 3, 32, 32)
    assert views.local.shape == (4, 2, 3, 16, 16)
    for images in views:
        assert images.dtype == torch.float32
        assert images.min() >= 0
        assert images.max() <= 1


def test_a_seed_repeats_its_views() -> None:
    first, again, other = (views_of(random_pixels(), seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


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

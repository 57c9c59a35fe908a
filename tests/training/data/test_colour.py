"""Colour jitter: what it keeps, and how often it does what."""

from __future__ import annotations

import torch

from training.data.colour import LUMA, draw_colour, recolour
from training.data.draws import Draws


def draw(count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    mean = torch.full((1, count, 3), 0.5)
    matrix, offset = draw_colour(mean, Draws(0, 1))
    return matrix[0], offset[0]


def test_grey_pixels_stay_grey() -> None:
    matrix, offset = draw()
    grey = matrix @ torch.full((3,), 0.4) + offset
    torch.testing.assert_close(grey[:, 0], grey[:, 1], atol=2e-3, rtol=0)
    torch.testing.assert_close(grey[:, 0], grey[:, 2], atol=2e-3, rtol=0)


def test_a_fifth_becomes_grey() -> None:
    matrix, offset = draw()
    colours = matrix @ torch.tensor([0.9, 0.2, 0.1]) + offset
    spread = colours.amax(1) - colours.amin(1)
    assert 0.17 < (spread < 5e-3).float().mean() < 0.23


def test_a_fifth_of_the_rest_stays_as_it_is() -> None:
    matrix, _ = draw()
    same = (matrix - torch.eye(3)).abs().amax((1, 2)) < 1e-5
    assert 0.13 < same.float().mean() < 0.19  # 0.2 without jitter, 0.8 of them in colour


def test_luma_changes_only_by_brightness_and_contrast() -> None:
    matrix, offset = draw()
    luma = torch.tensor(LUMA)
    red, blue = torch.tensor([0.9, 0.3, 0.2]), torch.tensor([0.1, 0.2, 0.9])
    step = ((matrix @ red + offset) - (matrix @ blue + offset)) @ luma
    strength = step / ((red - blue) @ luma)
    assert strength.min() > 0.6 * 0.6 - 1e-2
    assert strength.max() < 1.4 * 1.4 + 1e-2


def test_contrast_leaves_the_mean_luma_to_brightness() -> None:
    matrix, offset = draw()
    luma = (matrix @ torch.full((3,), 0.5) + offset) @ torch.tensor(LUMA)
    assert luma.min() > 0.5 * 0.6 - 1e-2
    assert luma.max() < 0.5 * 1.4 + 1e-2


def test_recoloured_images_are_clamped() -> None:
    images = torch.rand(1, 1, 3, 4, 4)
    bright = recolour(images, 5 * torch.eye(3)[None, None], torch.zeros(1, 1, 3))
    assert bright.max() == 1
    torch.testing.assert_close(recolour(images, torch.eye(3)[None, None], torch.zeros(1, 1, 3)), images)


def test_without_strength_colours_stay() -> None:
    mean = torch.full((1, 20, 3), 0.5)
    matrix, offset = draw_colour(mean, Draws(0, 1), strength=0.0)
    torch.testing.assert_close(matrix[0], torch.eye(3).expand(20, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(offset, torch.zeros_like(offset), atol=1e-5, rtol=0)

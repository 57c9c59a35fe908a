"""Crop matrices against Pillow's resampling and a direct convolution."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from training.data import crops
from training.data.draws import Draws


def picture(size: int) -> Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))


def cut(image: Tensor, box: tuple[float, float, float, float], size: int, mirrored: bool = False) -> Tensor:
    left, top, width, height = (torch.tensor([[value]]) for value in box)
    flag = torch.tensor([[mirrored]])
    rows = crops.resampling(top, height, torch.zeros_like(flag), image.shape[2], size)
    columns = crops.resampling(left, width, flag, image.shape[3], size)
    return crops.apply(image, rows, columns)[0, 0]


def test_a_whole_picture_at_its_own_size_is_itself() -> None:
    image = picture(24)
    torch.testing.assert_close(cut(image, (0.0, 0.0, 1.0, 1.0), 24), image[0])


def test_mirrored_swaps_left_and_right() -> None:
    image = picture(24)
    torch.testing.assert_close(cut(image, (0.0, 0.0, 1.0, 1.0), 24, mirrored=True), image[0].flip(2))


def test_shrinking_a_whole_picture_equals_pillow() -> None:
    image = picture(40)
    plane = image[0, 0].numpy()
    expected = np.array(Image.fromarray(plane).resize((16, 16), Image.Resampling.BILINEAR))
    torch.testing.assert_close(
        cut(image, (0.0, 0.0, 1.0, 1.0), 16)[0], torch.from_numpy(expected), atol=1e-5, rtol=0
    )


def test_an_inner_crop_equals_pillow_away_from_its_border() -> None:
    image = picture(64)
    box = (8.0, 16.0, 40.0, 56.0)
    expected = Image.fromarray(image[0, 0].numpy()).resize((20, 20), Image.Resampling.BILINEAR, box=box)
    shares = (8 / 64, 16 / 64, 32 / 64, 40 / 64)
    got = cut(image, shares, 20)[0]
    inner = slice(2, -2)
    torch.testing.assert_close(
        got[inner, inner], torch.from_numpy(np.array(expected))[inner, inner], atol=1e-5, rtol=0
    )


def test_boxes_lie_inside_and_keep_their_shape() -> None:
    aspect = torch.tensor([1.0, 2.5, 0.3])
    boxes = crops.draw_boxes(aspect, 500, (0.06, 1.0), Draws(0, 3))
    assert (boxes.left >= 0).all()
    assert (boxes.top >= 0).all()
    assert (boxes.left + boxes.width <= 1 + 1e-6).all()
    assert (boxes.top + boxes.height <= 1 + 1e-6).all()
    shape = boxes.width * aspect[:, None] / boxes.height
    assert shape.min() > 3 / 4 - 1e-4
    assert shape.max() < 4 / 3 + 1e-4


def test_boxes_of_a_square_picture_cover_the_asked_share() -> None:
    boxes = crops.draw_boxes(torch.ones(1), 2000, (0.06, 0.36), Draws(0, 1))
    area = boxes.width * boxes.height
    assert 0.06 - 1e-4 < area.min() < 0.07
    assert 0.35 < area.max() < 0.36 + 1e-4


def test_blur_equals_a_direct_convolution() -> None:
    image = picture(24)
    blur = crops.gaussian(torch.tensor([[1.5]]), 24)
    kernel = torch.tensor([math.exp(-(x**2) / (2 * 1.5**2)) for x in range(-4, 5)])
    kernel = (kernel / kernel.sum())[:, None] * (kernel / kernel.sum())
    expected = F.conv2d(image.transpose(0, 1), kernel[None, None]).transpose(0, 1)
    torch.testing.assert_close(crops.apply(image, blur, blur)[0, :, :, 4:-4, 4:-4], expected)


def test_every_pixel_is_an_average_of_the_picture() -> None:
    boxes = crops.draw_boxes(torch.tensor([1.3]), 8, (0.06, 1.0), Draws(1, 1))
    rows = crops.resampling(boxes.top, boxes.height, boxes.top > 0.1, 40, 16)
    assert (rows >= 0).all()
    torch.testing.assert_close(rows.sum(3), torch.ones(1, 8, 16))

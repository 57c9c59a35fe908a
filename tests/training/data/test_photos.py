"""The photos that models are judged by."""

from __future__ import annotations

import torch
from PIL import Image

from training.data.photos import middle_square, sample_photos


def test_six_photos_are_squares_in_range() -> None:
    photos = sample_photos(24)
    assert len(photos) == 6
    for image in photos.values():
        assert image.shape == (3, 24, 24)
        assert 0 <= float(image.min()) < float(image.max()) <= 1


def test_only_the_middle_of_a_wide_picture_is_kept() -> None:
    wide = Image.new("RGB", (90, 30), "red")
    wide.paste((0, 0, 255), (30, 0, 60, 30))
    # The outermost pixels blend with what lies beside the square.
    blue = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(3, 10, 8)
    torch.testing.assert_close(middle_square(wide, 10)[:, :, 1:-1], blue)

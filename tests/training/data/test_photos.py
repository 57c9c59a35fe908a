"""The photos that models are judged by."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from service.tokens.size import ImageSize, sides
from training.data.photos import middle, sample_photos


def test_six_photos_have_the_size_and_are_in_range() -> None:
    photos = sample_photos((16, 24))
    assert len(photos) == 6
    for image in photos.values():
        assert image.shape == (3, 16, 24)
        assert 0 <= float(image.min()) < float(image.max()) <= 1


@pytest.mark.parametrize(("size", "box"), [(10, (30, 0, 60, 30)), ((20, 10), (37, 0, 52, 30))])
def test_only_the_middle_of_a_wide_picture_is_kept(size: ImageSize, box: tuple[int, int, int, int]) -> None:
    wide = Image.new("RGB", (90, 30), "red")
    wide.paste((0, 0, 255), box)
    # The outermost pixels blend with what lies beside it.
    blue = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(3, sides(size)[0], 8)
    torch.testing.assert_close(middle(wide, size)[:, :, 1:-1], blue)

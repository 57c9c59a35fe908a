"""How close two pictures are."""

from __future__ import annotations

import numpy as np
import pytest

from service.tokens.psnr import psnr_db


def test_one_level_everywhere_is_48_db() -> None:
    seen = np.full((8, 8, 3), 100, np.uint8)
    assert psnr_db(seen + np.uint8(1), seen) == pytest.approx(20 * np.log10(255))
    assert psnr_db(seen, seen + np.uint8(1)) == pytest.approx(20 * np.log10(255))


def test_equal_pictures_have_a_number_too() -> None:
    seen = np.zeros((8, 8, 3), np.uint8)
    assert psnr_db(seen, seen) == pytest.approx(20 * np.log10(2550))

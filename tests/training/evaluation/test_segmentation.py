"""The segmentation probe on features that are made for it, and maps as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model import Stellar, get_preset
from training.data.labelled import UNLABELLED
from training.evaluation.segmentation import (
    Maps,
    mean_iou,
    patch_features,
    segmentation,
    train_head,
)


def halves(count: int) -> torch.Tensor:
    """Maps of 12×8 pixels: the left half is 0 and the right half 1, or the other way round."""
    maps = torch.zeros(count, 12, 8, dtype=torch.uint8)
    maps[::2, :, 4:] = 1
    maps[1::2, :, :4] = 1
    return maps


def patches_of(maps: torch.Tensor) -> torch.Tensor:
    """Features of 6×4 patches that say the class, scaled and shifted, beside noise."""
    said = maps[:, ::2, ::2].flatten(1)[:, :, None] * 40.0 + 7
    return torch.cat([said, torch.randn(*said.shape[:2], 5)], dim=2)


def test_classes_that_features_tell_are_found_and_others_are_not() -> None:
    torch.manual_seed(0)
    maps = halves(16)
    head = train_head(patches_of(maps), maps, 2, steps=300)
    assert mean_iou(head, patches_of(maps), maps) > 0.7
    assert mean_iou(head, patches_of(1 - maps), maps) < 0.2


def test_pixels_without_a_class_do_not_count() -> None:
    torch.manual_seed(0)
    maps = halves(16)
    head = train_head(patches_of(maps), maps, 2, steps=300)
    spoiled, partly = 1 - maps, maps.clone()
    spoiled[:, :, 2:6] = partly[:, :, 2:6] = UNLABELLED
    assert mean_iou(head, patches_of(maps), partly) == 1
    assert mean_iou(head, patches_of(maps), spoiled) == 0


def test_a_constant_answer_has_half_the_share_of_its_class(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        (tmp_path / part / "images").mkdir(parents=True)
        (tmp_path / part / "labels").mkdir()
        for index in range(6):
            picture, labels = rng.integers(0, 60, (32, 40, 3), dtype=np.uint8), np.zeros((32, 40), np.uint8)
            labels[:, 4:12], picture[:, 4:12] = 1, 220  # the middle square begins at 4
            Image.fromarray(picture).save(tmp_path / part / "images" / f"{index}.png")
            Image.fromarray(labels).save(tmp_path / part / "labels" / f"{index}.png")
    torch.manual_seed(0)
    model, untrained = (Stellar(get_preset("debug")).eval() for _ in range(2))
    figures = segmentation(model, untrained, tmp_path, steps=60)
    assert figures["miou_constant"] == pytest.approx(0.75 / 2)
    assert figures["miou_colour"] > 0.7  # edges lie between patches, and scores are drawn out over them
    assert figures["miou_dense"] > 0.7
    assert {"miou_localization", "miou_dense_untrained", "miou_localization_untrained"} < figures.keys()


def test_colours_are_means_of_patches() -> None:
    model = Stellar(get_preset("debug"))
    image = torch.rand(1, 3, 32, 32)
    colours = patch_features(model, image, "colour")
    torch.testing.assert_close(colours[0, 5], image[0, :, 8:16, 8:16].mean(dim=(1, 2)))


def test_files_beside_the_pictures_are_not_read(tmp_path: Path) -> None:
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
        Image.new("L", (8, 8), 1).save(tmp_path / part / "a.png")
    for name in ("a.xmp", "._a.png"):
        (tmp_path / "images" / name).write_text("no picture")
    assert len(Maps.read(tmp_path, 8).images) == 1


def test_pictures_without_maps_are_left_out_and_none_at_all_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "alone.png")
    with pytest.raises(ValueError, match=r"expected pictures in images/NAME\.\* and labels/NAME\.png"):
        Maps.read(tmp_path, 8)

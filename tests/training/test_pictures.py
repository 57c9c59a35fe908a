"""Pictures of a folder: what is read, how, and in which order."""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.pictures import PictureFolder, ShuffledBatches, picture_batches, read_square


def test_pictures_at_any_depth_are_found_and_other_files_are_not(pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures, tmp_path / "all")
    (tmp_path / "all" / "notes.txt").write_text("no picture")
    assert len(PictureFolder(tmp_path / "all", 40)) == 12


def test_a_picture_is_a_square_with_its_shape_beside_it(pictures: Path) -> None:
    folder = PictureFolder(pictures, 40)
    index = [path.stem for path in folder.paths].index("3")
    picture = folder[index]
    assert picture.pixels.shape == (3, 40, 40)
    assert picture.pixels.dtype == torch.uint8
    assert picture.aspect == pytest.approx(72 / 56)


def test_truncated_and_fake_files_are_replaced_by_the_next_and_counted(
    pictures: Path, tmp_path: Path
) -> None:
    whole = (pictures / "1.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    (tmp_path / "c.png").write_bytes(whole)
    folder = PictureFolder(tmp_path, 40)
    assert [folder[i].unreadable for i in range(3)] == [2, 1, 0]
    assert torch.equal(folder[0].pixels, folder[2].pixels)


def test_a_folder_of_nothing_but_broken_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="none of 1 files could be read"):
        PictureFolder(tmp_path, 40)[0]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pictures: expected a folder with pictures"):
        PictureFolder(tmp_path, 40)


def test_transparent_pixels_show_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    image, _ = read_square(tmp_path / "clear.png", 8)
    assert image.getpixel((4, 4)) == (255, 255, 255)


def test_a_camera_s_rotation_is_undone(tmp_path: Path) -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter: the left side is the top
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    image, aspect = read_square(tmp_path / "turned.png", 16)
    assert aspect == 0.5
    assert image.getpixel((8, 1)) == (255, 255, 255)
    assert image.getpixel((8, 14)) == (0, 0, 0)


def test_grey_palette_and_cmyk_pictures_become_rgb(tmp_path: Path) -> None:
    for mode, name in (("L", "a.png"), ("P", "b.gif"), ("CMYK", "c.jpg"), ("I;16", "d.png")):
        Image.new(mode, (8, 8)).save(tmp_path / name)
        assert read_square(tmp_path / name, 8)[0].mode == "RGB"


def test_each_epoch_has_every_picture_once_in_an_order_of_its_own() -> None:
    batches = list(islice(ShuffledBatches(12, 4, seed=0), 6))
    first, second = list(chain(*batches[:3])), list(chain(*batches[3:]))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


def test_epochs_run_into_each_other_and_batches_stay_full() -> None:
    batches = list(islice(ShuffledBatches(5, 4, seed=0), 5))
    assert {len(batch) for batch in batches} == {4}
    assert set(Counter(chain(*batches)).values()) == {4}


@pytest.mark.parametrize("first_batch", [1, 2, 5, 9])
def test_the_stream_is_the_same_wherever_it_is_entered(first_batch: int) -> None:
    whole = list(islice(ShuffledBatches(7, 3, seed=4), 12))
    entered = list(islice(ShuffledBatches(7, 3, seed=4, first_batch=first_batch), 12 - first_batch))
    assert entered == whole[first_batch:]


def test_worker_processes_give_the_same_batches(pictures: Path) -> None:
    folder = PictureFolder(pictures, 40)
    here, elsewhere = (
        list(
            islice(
                picture_batches(
                    folder, batch_size=5, seed=1, workers=workers, first_batch=2, pin_memory=False
                ),
                3,
            )
        )
        for workers in (0, 1)
    )
    for a, b in zip(here, elsewhere, strict=True):
        assert torch.equal(a.pixels, b.pixels)
        assert torch.equal(a.aspect, b.aspect)

"""Pictures: how they are read, and how they come in batches."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from service.errors import BadImage
from service.tokens.pictures import decode_image
from tests.service.tokens.kinds import KINDS, Kind
from tests.service.tokens.values import SIDE
from training.data.photos import middle
from training.data.pictures import PictureBatch, picture_batches, read_stretched, read_whole
from training.data.streams import FolderStream


def batches(
    paths: list[Path],
    count: int,
    batch_size: int = 5,
    workers: int = 2,
    state: dict[str, object] | None = None,
) -> list[PictureBatch]:
    stream = FolderStream(paths, seed=1, batch_size=batch_size, state=state)
    return list(islice(picture_batches(stream, batch_size=batch_size, size=40, workers=workers), count))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_batch_has_squares_with_their_shapes_beside_them(pictures: Path) -> None:
    (batch,) = batches(files(pictures), 1, batch_size=12)
    assert batch.pixels.shape == (12, 3, 40, 40)
    assert batch.pixels.dtype == torch.uint8
    assert {round(aspect, 3) for aspect in batch.aspect.tolist()} == {
        round(width / 56, 3) for width in (48, 56, 64, 72)
    }


def test_truncated_and_fake_files_are_counted_and_others_stand_in_for_them(
    pictures: Path, tmp_path: Path
) -> None:
    whole = (pictures / "1.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    (tmp_path / "c.png").write_bytes(whole)
    (batch,) = batches(files(tmp_path), 1, batch_size=3)
    assert batch.unreadable == 2
    assert torch.equal(batch.pixels[0], batch.pixels[1])
    assert torch.equal(batch.pixels[0], batch.pixels[2])


def test_a_batch_without_any_readable_picture_is_left_out_and_counted(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "good.png").write_bytes((pictures / "1.png").read_bytes())
    assert [batch.unreadable for batch in batches(files(tmp_path), 6, batch_size=1)].count(0) < 6
    assert sum(batch.unreadable for batch in batches(files(tmp_path), 6, batch_size=1)) >= 5


def test_a_folder_of_nothing_but_broken_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="none of 200 pictures in a row could be read"):
        batches(files(tmp_path), 1, batch_size=2)


def test_transparent_pixels_show_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    image, _ = read_stretched(tmp_path / "clear.png", 8)
    assert image.getpixel((4, 4)) == (255, 255, 255)


def test_a_camera_s_rotation_is_undone(tmp_path: Path) -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter: the left side is the top
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    image, aspect = read_stretched(tmp_path / "turned.png", 16)
    assert aspect == 0.5
    assert image.getpixel((8, 1)) == (255, 255, 255)
    assert image.getpixel((8, 14)) == (0, 0, 0)


def test_grey_palette_and_cmyk_pictures_become_rgb(tmp_path: Path) -> None:
    for mode, name in (("L", "a.png"), ("P", "b.gif"), ("CMYK", "c.jpg"), ("I;16", "d.png")):
        Image.new(mode, (8, 8)).save(tmp_path / name)
        assert read_stretched(tmp_path / name, 8)[0].mode == "RGB"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_is_trained_on_as_it_is_served(kind: Kind, tmp_path: Path) -> None:
    data, path = kind.make(), tmp_path / f"picture{kind.suffix}"
    path.write_bytes(data)
    if kind.error is not None:
        with pytest.raises(BadImage):
            read_stretched(path, SIDE)
        with pytest.raises(ValueError, match=f"{path}: Th"):
            read_whole(path)
        return
    served = decode_image(data, SIDE, "stretch", SIDE**2).pixels
    image, aspect = read_stretched(path, SIDE)
    np.testing.assert_array_equal(np.asarray(image), served)
    np.testing.assert_array_equal(np.asarray(read_stretched(data, SIDE)[0]), served)
    assert aspect == 1
    judged = middle(read_whole(path), SIDE)
    np.testing.assert_array_equal(judged.permute(1, 2, 0).numpy(), served.astype(np.float32) / 255)


def test_more_threads_give_the_same_batches(pictures: Path) -> None:
    one_thread, three = (batches(files(pictures), 4, workers=workers) for workers in (1, 3))
    for one, other in zip(one_thread, three, strict=True):
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.aspect, other.aspect)


def test_the_state_of_a_batch_leads_to_the_next_one_though_more_were_read_ahead(pictures: Path) -> None:
    whole = batches(files(pictures), 6)
    (entered,) = batches(files(pictures), 1, state=whole[3].state)
    assert torch.equal(entered.pixels, whole[4].pixels)


def test_threads_end_with_the_batches(pictures: Path) -> None:
    before = set(threading.enumerate())
    stream = picture_batches(
        FolderStream(files(pictures), seed=0, batch_size=2), batch_size=2, size=40, workers=2
    )
    next(stream)
    started = set(threading.enumerate()) - before
    assert {thread.name.split("_")[0] for thread in started} == {"pictures", "decode"}
    stream.close()
    for thread in started:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in started)

"""Prepared pictures: crops of photos, cut-outs on grounds, nothing twice, nothing held out in training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from training.data.prepare import (
    COPIES,
    CROP_SIDE,
    CROPS_PER_PHOTO,
    HELD_OUT_TOPICS,
    LABELLED_SIDE,
    Drawing,
    clipart,
    crop_photo,
    distinct_photos,
    emoji,
    map_drawing,
    place_drawing,
    stamps,
)
from training.data.sources import SOURCES, Source, fetch
from training.errors import SourceError


def photo(path: Path, size: tuple[int, int], colour: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, colour)
    image.paste("white", (0, 0, size[0] // 2, size[1] // 3))
    image.save(path)
    return path


def source(kind: str) -> Source:
    return next(source for source in SOURCES if source.kind == kind)


def test_only_the_largest_of_a_wallpapers_copies_is_used(tmp_path: Path) -> None:
    large = photo(tmp_path / "a/large.png", (640, 480), "navy")
    photo(tmp_path / "a/small.png", (320, 240), "navy")
    other = photo(tmp_path / "b/other.png", (320, 240), "red")
    photo(tmp_path / "b/screenshot.png", (64, 48), "green")
    (tmp_path / "link.png").symlink_to(other)
    assert distinct_photos(tmp_path) == [large, other]


def test_transparent_wallpapers_are_told_apart_and_lie_on_white(tmp_path: Path) -> None:
    for i, box in enumerate(((0, 0, 64, 96), (0, 0, 128, 48))):
        image = Image.new("RGBA", (128, 96), (0, 0, 0, 0))
        image.paste((0, 0, 0, 255), box)
        image.save(tmp_path / f"{i}.png")
    assert len(distinct_photos(tmp_path)) == 2
    crop_photo(tmp_path / "0.png", tmp_path / "out")
    colours = set()
    for path in (tmp_path / "out").iterdir():
        with Image.open(path) as crop:
            colours |= {0, 255} & set(crop.convert("L").tobytes())
    assert colours == {0, 255}


def test_a_picture_without_a_licence_is_left_out(tmp_path: Path) -> None:
    photo(tmp_path / "Arc-Colors-Transparent-Wallpaper.png", (64, 48), "navy")
    assert distinct_photos(tmp_path) == []


def test_a_photo_becomes_the_same_crops_every_time(tmp_path: Path) -> None:
    wallpaper = photo(tmp_path / "usr/share/x.png", (400, 300), "navy")
    for out in ("one", "two"):
        crop_photo(wallpaper, tmp_path / out)
    first, second = (sorted((tmp_path / out).iterdir()) for out in ("one", "two"))
    assert len(first) == CROPS_PER_PHOTO
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    with Image.open(first[0]) as crop:
        assert crop.size == (CROP_SIDE, CROP_SIDE)


def test_stamps_are_labelled_by_folder_and_letters_are_left_out(tmp_path: Path) -> None:
    for name in ("animals/birds/owl.png", "symbols/alphabets/a.png", "food/fruit/fig.png"):
        photo(tmp_path / "usr/share/tuxpaint/stamps" / name, (20, 20), "red")
    found = list(stamps(tmp_path))
    assert [(d.label, d.name) for d in found] == [
        ("animals-birds", "animals-birds-owl"),
        ("food-fruit", "food-fruit-fig"),
    ]


def test_emoji_are_labelled_by_group_without_skin_tones(tmp_path: Path) -> None:
    entries = [
        {"image": "1f431.png", "category": "Animals & Nature"},
        {"image": "1f3fb.png", "category": "Component"},
        {"image": "missing.png", "category": "Objects"},
    ]
    for entry in entries[:2]:
        photo(tmp_path / "package/img/hand/64" / entry["image"], (64, 64), "red")
    (tmp_path / "package/emoji.json").write_text(json.dumps(entries))
    assert [(d.label, d.name) for d in emoji(tmp_path)] == [("animals-nature", "1f431")]


def test_clipart_is_labelled_by_topic_some_topics_are_held_out_and_icons_signs_and_giants_left_out(
    tmp_path: Path,
) -> None:
    root = tmp_path / "usr/share/openclipart/png"
    for name in (
        "people/jo.png",
        "animals/mammals/cats/tom.png",
        "food/fruit/fig.png",
        "shapes/stars/star.png",
    ):
        photo(root / name, (100, 120), "red")
    photo(root / "office/pin.png", (64, 200), "red")
    Image.new("1", (20_000, 20_000)).save(root / "office/wall.png")
    (root / "office/link.png").symlink_to(root / "people/jo.png")
    assert [(d.label, d.name, d.held_out) for d in clipart(tmp_path)] == [
        ("animals-mammals", "animals-mammals-cats-tom", False),
        ("food-fruit", "food-fruit-fig", True),
        ("people", "people-jo", False),
    ]
    assert "food/fruit" in HELD_OUT_TOPICS


@pytest.mark.parametrize(
    ("held_out", "copies", "part"), [(False, COPIES["stamps"], "gallery"), (True, 0, "query")]
)
def test_held_out_drawings_never_reach_training(
    tmp_path: Path, held_out: bool, copies: int, part: str
) -> None:
    ground = photo(tmp_path / "ground.png", (400, 300), "navy")
    cutout = tmp_path / "owl.png"
    Image.new("RGBA", (30, 50), (200, 30, 30, 255)).save(cutout)
    drawing = Drawing(path=cutout, label="birds", name="owl", held_out=held_out)
    place_drawing(drawing, source("stamps"), tmp_path, ground)
    assert len(list((tmp_path / "train").rglob("*.jpg"))) == copies
    with Image.open(tmp_path / f"labelled/stamps-{part}/birds/owl.png") as labelled:
        assert labelled.size == (LABELLED_SIDE, LABELLED_SIDE)
        assert labelled.getpixel((0, 0)) == (255, 255, 255)
        assert labelled.getpixel((64, 64)) == (200, 30, 30)


def test_what_is_written_stays_and_what_an_interruption_cut_short_is_written_again(tmp_path: Path) -> None:
    ground = photo(tmp_path / "ground.png", (400, 300), "navy")
    cutout = tmp_path / "owl.png"
    Image.new("RGBA", (30, 50), (200, 30, 30, 255)).save(cutout)
    drawing = Drawing(path=cutout, label="birds", name="owl", held_out=False)
    place_drawing(drawing, source("stamps"), tmp_path, ground)
    copy, labelled = tmp_path / "train/tuxpaint/owl-0.jpg", next((tmp_path / "labelled").rglob("*.png"))
    whole = copy.read_bytes()
    copy.write_bytes(b"")
    place_drawing(drawing, source("stamps"), tmp_path, ground)
    assert copy.read_bytes() == b""
    labelled.unlink()
    place_drawing(drawing, source("stamps"), tmp_path, ground)
    assert copy.read_bytes() == whole


def test_a_whole_hand_is_held_out() -> None:
    hands = {s.name: s.use for s in SOURCES if s.kind == "emoji"}
    assert sorted(hands.values()) == ["holdout", "train"]


@pytest.mark.parametrize("registry", ["debian", "pypi"])
def test_a_package_that_is_not_there_is_named(tmp_path: Path, registry: Literal["debian", "pypi"]) -> None:
    missing = Source(
        name="missing",
        registry=registry,
        package="no-such-package-of-pictures",
        kind="photos",
        use="train",
        licence="none",
    )
    with pytest.raises(SourceError, match=r"no-such-package-of-pictures|not installed"):
        fetch(missing, tmp_path)
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(("use", "part"), [("train", "train"), ("holdout", "test")])
def test_a_map_says_where_the_drawing_is(tmp_path: Path, use: str, part: str) -> None:
    emoji_source = next(source for source in SOURCES if source.kind == "emoji" and source.use == use)
    Image.new("RGBA", (64, 64), (255, 0, 255, 255)).save(tmp_path / "cutout.png")
    ground = photo(tmp_path / "ground.jpg", (160, 160), "green")
    drawing = Drawing(path=tmp_path / "cutout.png", label="shapes", name="square", held_out=False)
    map_drawing(drawing, emoji_source, tmp_path, ground)
    with (
        Image.open(tmp_path / "label-maps" / part / "images" / "square.jpg") as picture,
        Image.open(tmp_path / "label-maps" / part / "labels" / "square.png") as labels,
    ):
        colours, values = np.array(picture.convert("RGB")), np.array(labels)
    magenta = (colours[..., 0] > 200) & (colours[..., 1] < 60) & (colours[..., 2] > 200)
    assert set(np.unique(values)) <= {0, 1, 255}
    assert (magenta == (values == 1))[values < 255].mean() > 0.98
    assert 0.1 < (values == 1).mean() < 0.7

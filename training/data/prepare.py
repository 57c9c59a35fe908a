"""From unpacked sources to folders of small pictures: crops of photos, cut-outs on varied backgrounds.

`DIR/train` is what the model sees; `DIR/labelled` holds drawings on white for evaluation, in folders
`SET/LABEL/NAME.png`: `noto`, `stamps-gallery` and `clipart-gallery` were trained on, `twemoji`,
`stamps-query` and `clipart-query` never.
`DIR/label-maps` holds emoji on photos with maps of where they are, `noto` in `train` and `twemoji` in `test`.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageFilter
from rich.progress import track

from service.tokens.pictures import open_picture
from training.data.labelled import UNLABELLED
from training.data.photos import whole_photos
from training.data.sources import SOURCES, Source, fetch

CROP_SIDE = 160
"""Side of a prepared picture in pixels: training crops 128 of them at random."""
CROPS_PER_PHOTO = 90
LABELLED_SIDE = 128
PARTS = ("train", "labelled", "label-maps")
COPIES = {"stamps": 3, "emoji": 2, "clipart": 2}
"""Pictures that are made of a drawing, by its source's kind."""
QUERY_SHARE = 5
"""One stamp in this many is held out."""
WITHOUT_OBJECTS = {"symbols"}
"""Stamp folders with letters and signs, which are no pictures."""

HELD_OUT_TOPICS = {
    "animals/birds",
    "animals/bugs",
    "buildings/homes",
    "food/beverages",
    "food/breads_and_carbs",
    "food/desserts",
    "food/fruit",
    "recreation/music",
    "recreation/sports",
    "tools",
    "tools/weapons",
    "transportation/boating",
}
"""Topics of clipart that are only judged on: things that folders tell apart."""
WITHOUT_THINGS = {"buttons", "logos", "shapes", "signs_and_symbols", "recreation/games/cards"}
"""Topics of clipart that are left out: signs, and what has a thousand like it."""
LEAST_SIDE = 96
"""Smaller cliparts are icons."""
MOST_PIXELS = 300_000_000
"""Larger ones are one stop sign of 623 million, which takes 7.6 GB and minutes; stellar-tiny has seen it."""

WITHOUT_LICENCE = {"Arc-Colors-Transparent-Wallpaper.png"}
"""Their package's copyright file lists them among its build files, without an author who gave the licence."""

MAX_PIXELS = 1_000_000_000  # the sources are ours, and some are large
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A cut-out with its label."""

    path: Path
    label: str
    name: str
    held_out: bool


def prepare(folder: Path) -> dict[str, int]:
    """Fetch every source and write `PARTS` below `folder`; return how many files each has.

    What is already written stays, so an interrupted call goes on. The result depends on nothing but the
    sources.
    """
    jobs: list[tuple[Callable[..., None], tuple[object, ...]]] = []
    backgrounds: list[Path] = []
    drawn: list[tuple[Drawing, Source]] = []
    for source in SOURCES:
        unpacked = fetch(source, folder / "sources")
        if source.kind == "photos":
            photos = distinct_photos(unpacked)
            backgrounds += photos
            jobs += [(crop_photo, (photo, folder / "train" / source.name)) for photo in photos]
            continue
        drawings = {"stamps": stamps, "emoji": emoji, "clipart": clipart}[source.kind]
        for drawing in drawings(unpacked):
            photo = backgrounds[seed_of(drawing.name) % len(backgrounds)]
            jobs.append((place_drawing, (drawing, source, folder, photo)))
            if source.kind == "emoji":
                drawn.append((drawing, source))
    with ProcessPoolExecutor() as pool:
        futures = [pool.submit(job, *arguments) for job, arguments in jobs]
        for future in track(as_completed(futures), "Preparing pictures", total=len(futures)):
            future.result()
    photos = [folder / "train" / source.name for source in SOURCES if source.kind == "photos"]
    grounds = sorted(path for photo in photos for path in photo.glob("*.jpg"))
    for drawing, source in track(drawn, "Mapping drawings"):
        map_drawing(drawing, source, folder, grounds[seed_of(drawing.name) % len(grounds)])
    return {part: sum(1 for _ in (folder / part).rglob("*.*")) for part in PARTS}


def distinct_photos(unpacked: Path) -> list[Path]:
    """The largest file of every wallpaper, without links, previews and near copies."""
    best: dict[bytes, Path] = {}
    for path in sorted(unpacked.rglob("*")):
        if path.suffix not in {".jpg", ".png", ".webp"} or path.is_symlink():
            continue
        if path.stem == "screenshot" or path.name in WITHOUT_LICENCE:
            continue
        key = _thumbprint(path)
        if key not in best or path.stat().st_size > best[key].stat().st_size:
            best[key] = path
    return sorted(best.values())


def crop_photo(photo: Path, out: Path) -> None:
    """Write random squares of 20 to 100 % of the short side, small ones more often than large ones."""
    rng = random.Random(seed_of(photo.as_posix().split("/usr/", 1)[-1]))
    stem = hashlib.sha256(photo.as_posix().split("/usr/", 1)[-1].encode()).hexdigest()[:10]
    if (out / f"{stem}-{CROPS_PER_PHOTO - 1:03}.jpg").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    image = open_picture(photo, max_pixels=MAX_PIXELS)
    short = min(image.size)
    for i in range(CROPS_PER_PHOTO):
        side = max(min(short, CROP_SIDE), round(short * 0.2 ** rng.random()))
        left, top = (rng.randint(0, length - side) for length in image.size)
        crop = image.resize(
            (CROP_SIDE, CROP_SIDE),
            Image.Resampling.LANCZOS,
            box=(left, top, left + side, top + side),
            reducing_gap=2,
        )
        crop.save(out / f"{stem}-{i:03}.jpg", quality=92)


def stamps(unpacked: Path) -> Iterator[Drawing]:
    """Tux Paint's cut-outs; the label is the folder, one in five is held out by its name."""
    root = next(unpacked.rglob("stamps"))
    for path in sorted(root.rglob("*.png")):
        parts = path.relative_to(root).parts
        if parts[0] not in WITHOUT_OBJECTS and len(parts) > 2:
            name = "-".join(parts).removesuffix(".png")
            held_out = seed_of(name) % QUERY_SHARE == 0
            yield Drawing(path=path, label="-".join(parts[:2]), name=name, held_out=held_out)


def emoji(unpacked: Path) -> Iterator[Drawing]:
    """One hand's emoji, without skin tones and flags; the label is the group, the name the code points."""
    package = unpacked / "package"
    pictures = next((package / "img").iterdir()) / "64"
    for entry in json.loads((package / "emoji.json").read_text()):
        path = pictures / entry["image"]
        if entry["category"] not in {"Component", "Flags"} and path.is_file():
            label = entry["category"].replace(" & ", "-").replace(" ", "-").lower()
            yield Drawing(path=path, label=label, name=path.stem, held_out=False)


def clipart(unpacked: Path) -> Iterator[Drawing]:
    """Drawings of many hands; the label is the topic, and some topics are held out."""
    root = next(unpacked.rglob("openclipart/png"))
    for path in sorted(root.rglob("*.png")):
        parts = path.relative_to(root).parts
        topics = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        if path.is_symlink() or topics & WITHOUT_THINGS:
            continue
        with Image.open(path) as image:
            if min(image.size) < LEAST_SIDE or image.width * image.height > MOST_PIXELS:
                continue
        topic = "/".join(parts[:2] if len(parts) > 2 else parts[:1])
        yield Drawing(
            path=path,
            label=topic.replace("/", "-"),
            name="-".join(parts).removesuffix(".png"),
            held_out=topic in HELD_OUT_TOPICS,
        )


def place_drawing(drawing: Drawing, source: Source, folder: Path, photo: Path) -> None:
    """Write one drawing for evaluation, on white; unless held out, copies on other grounds for training.

    The one for evaluation comes last: where it is, all are.
    """
    part = "query" if drawing.held_out else "gallery"
    labelled_set = source.name if source.kind == "emoji" else f"{source.kind}-{part}"
    labelled = folder / "labelled" / labelled_set / drawing.label / f"{drawing.name}.png"
    if labelled.exists():
        return
    with Image.open(drawing.path) as file:
        cutout = file.convert("RGBA")
    if not drawing.held_out and source.use != "holdout":
        _place_copies(drawing, cutout, source, folder / "train" / source.name, photo)
    white = Image.new("RGB", (LABELLED_SIDE, LABELLED_SIDE), "white")
    _paste(white, cutout, 0.85, (0.5, 0.5))
    labelled.parent.mkdir(parents=True, exist_ok=True)
    scratch = labelled.with_suffix(".part")
    white.save(scratch, "PNG")
    scratch.rename(labelled)


def _place_copies(drawing: Drawing, cutout: Image.Image, source: Source, out: Path, photo: Path) -> None:
    rng = random.Random(seed_of(drawing.name))
    out.mkdir(parents=True, exist_ok=True)
    for i in range(COPIES[source.kind]):
        ground = _ground(rng, photo)
        _paste(ground, cutout, rng.uniform(0.5, 1.0), (rng.random(), rng.random()))
        ground.save(out / f"{drawing.name}-{i}.jpg", quality=92)


def map_drawing(drawing: Drawing, source: Source, folder: Path, photo: Path) -> None:
    """Write one drawing on a piece of a photo, and its map: 1 where it is, 255 at its rim, 0 elsewhere.

    What was held out from training lies on photos that were, too.
    """
    held_out = source.use == "holdout"
    rng = random.Random(seed_of(f"map {source.name} {drawing.name}"))
    with Image.open(drawing.path) as file:
        cutout = file.convert("RGBA")
    with Image.open(photo) as crop:
        ground = _piece(rng.choice([*whole_photos().values()]) if held_out else crop, rng)
    cover = Image.new("RGBA", ground.size)
    share, place = rng.uniform(0.4, 0.8), (rng.random(), rng.random())
    for layer in (ground, cover):
        _paste(layer, cutout, share, place)
    labels = cover.getchannel("A").point([0] * 16 + [UNLABELLED] * 224 + [1] * 16)
    out = folder / "label-maps" / ("test" if held_out else "train")
    for name, layer in ((f"images/{drawing.name}.jpg", ground), (f"labels/{drawing.name}.png", labels)):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        layer.save(out / name, quality=92)


def seed_of(text: str) -> int:
    """A number that depends on nothing but the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])


def _thumbprint(path: Path) -> bytes:
    """Equal for copies of a picture at other sizes: four grey levels at 4×4 points."""
    small = open_picture(path, short_side=64, max_pixels=MAX_PIXELS).resize((4, 4), Image.Resampling.BOX)
    return bytes(value // 16 for value in small.tobytes())


def _ground(rng: random.Random, photo: Path) -> Image.Image:
    """A plain colour, a gradient between two, or a blurred piece of a photo."""
    size = CROP_SIDE, CROP_SIDE
    colours = [f"#{rng.randrange(1 << 24):06x}" for _ in range(2)]
    kind = rng.choice(("white", "plain", "gradient", "photo"))
    if kind == "photo":
        image = _broad(photo)
        left = rng.randint(0, CROP_SIDE)
        piece = image.crop((left, 0, left + CROP_SIDE, CROP_SIDE))
        return piece.filter(ImageFilter.GaussianBlur(rng.uniform(1, 6)))
    if kind == "gradient":
        ramp = Image.linear_gradient("L").resize(size).rotate(rng.choice((0, 90, 180, 270)))
        return Image.composite(Image.new("RGB", size, colours[0]), Image.new("RGB", size, colours[1]), ramp)
    return Image.new("RGB", size, "white" if kind == "white" else colours[0])


@cache
def _broad(photo: Path) -> Image.Image:
    """A photo as two squares side by side: large ones take a second to decode."""
    image = open_picture(photo, short_side=640, max_pixels=MAX_PIXELS)
    return image.resize((2 * CROP_SIDE, CROP_SIDE), Image.Resampling.BOX)


def _piece(photo: Image.Image, rng: random.Random) -> Image.Image:
    """A random square of half to all of a photo's short side."""
    short = min(photo.size)
    side = rng.randint(short // 2, short)
    left, top = (rng.randint(0, length - side) for length in photo.size)
    box = (left, top, left + side, top + side)
    size = LABELLED_SIDE, LABELLED_SIDE
    return photo.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=2)


def _paste(ground: Image.Image, cutout: Image.Image, share: float, place: tuple[float, float]) -> None:
    """Paste the cut-out so that its longer side takes `share` of the ground."""
    side = ground.width
    scale = share * side / max(cutout.size)
    size = [max(1, round(length * scale)) for length in cutout.size]
    scaled = cutout.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    left, top = (round((side - length) * p) for length, p in zip(size, place, strict=True))
    ground.paste(scaled, (left, top), scaled)

"""The bundled model is what its manifest and card say, on photos that it never saw."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
import skimage.data
from PIL import Image

from service.runtime.bundle import Bundle, read_bundle
from service.runtime.engine import Engine
from service.settings import BUNDLED_MODELS, Settings
from service.tokens.canvas import apply_edits
from service.tokens.edits import parse_edits
from service.tokens.pictures import decode_image
from service.tokens.types import Floats, Pixels

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(BUNDLED_MODELS / "stellar-tiny")


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Engine:
    return Engine(bundle, Settings.model_validate({"threads": 1, "max_batch": 1}), tell=print)


def photo(name: str, side: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(getattr(skimage.data, name)()).save(buffer, "PNG")
    return decode_image(buffer.getvalue(), side, "crop", 10**8).pixels


def encode(engine: Engine, pixels: Pixels) -> tuple[Floats, Floats]:
    out = engine.run("encode", {"image": pixels[None]})
    return out["semantics"][0], out["localization"][0]


def draw(engine: Engine, semantics: Floats, localization: Floats) -> Floats:
    arrays = {"semantics": semantics[None], "localization": localization[None]}
    image: Floats = engine.run("decode", arrays)["image"][0].astype(np.float32)  # type: ignore[arg-type]
    return image


def psnr(one: Floats, other: Floats) -> float:
    return float(-10 * np.log10(np.mean((one - other) ** 2) / 255**2))


def test_bundle_is_small_enough_to_ship(bundle: Bundle) -> None:
    files = bundle.folder.iterdir()
    assert sum(file.stat().st_size for file in files) < 40 * 2**20


def test_photos_are_recognisable(engine: Engine) -> None:
    """Better than the best single colour by far, and about as good as the manifest says."""
    side = engine.manifest.size[0]
    gains, figures = [], []
    for name in PHOTOS:
        pixels = photo(name, side)
        want = pixels.astype(np.float32)
        figures.append(psnr(draw(engine, *encode(engine, pixels)), want))
        gains.append(figures[-1] - psnr(np.broadcast_to(want.mean((0, 1)), want.shape), want))
    assert min(gains) > 3
    assert (
        abs(float(np.mean(figures)) - engine.manifest.quality["psnr_db"]) < 4
    )  # other photos weigh there too


def test_regions_follow_the_picture(engine: Engine) -> None:
    """Patches of one token's region resemble each other more than patches at large."""
    side, patch = engine.manifest.size[0], engine.manifest.patch_size
    for name in PHOTOS:
        pixels = photo(name, side).astype(np.float32)
        _, localization = encode(engine, photo(name, side))
        grid = side // patch
        colours = pixels.reshape(grid, patch, grid, patch, 3).mean((1, 3)).reshape(-1, 3)
        regions = localization.argmax(1)
        within = sum(
            ((colours[regions == k] - colours[regions == k].mean(0)) ** 2).sum() for k in set(regions)
        )
        assert within < 0.6 * ((colours - colours.mean(0)) ** 2).sum(), name


def test_dropping_a_token_changes_its_region_most(engine: Engine) -> None:
    side, patch = engine.manifest.size[0], engine.manifest.patch_size
    ratios = []
    for name in PHOTOS:
        semantics, localization = encode(engine, photo(name, side))
        whole = draw(engine, semantics, localization)
        regions = localization.argmax(1)
        for k in np.flatnonzero(np.bincount(regions) >= 3):
            edits = parse_edits([{"op": "drop", "token": int(k)}], 1)
            edited = draw(engine, *apply_edits(semantics, localization, engine.manifest.grid, edits))
            change = np.abs(edited - whole).mean(2)
            inside = np.kron((regions == k).reshape(engine.manifest.grid), np.ones((patch, patch), bool))
            ratios.append(change[inside].mean() / change[~inside].mean())
    assert np.mean(ratios) > 1.5


def test_card_names_every_source(bundle: Bundle) -> None:
    from training.data.sources import SOURCES, TEACHER

    card = (BUNDLED_MODELS.parents[1] / "training/cards/stellar-tiny.md").read_text()
    for source in (*SOURCES, *TEACHER):
        name, version = re.fullmatch(r"([^@=]+)[@=]*(.*)", source.package).groups()  # type: ignore[union-attr]
        assert name in card
        assert version in card
    assert json.loads((bundle.folder / "bundle.json").read_text())["name"] == "stellar-tiny"

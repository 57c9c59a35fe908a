"""Draws the README's picture with the service's own code: `make picture`.

A row for each photo that the model never saw: the photo, its token regions, three tokens' heat maps, the
reconstruction, and the reconstruction without one token.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from service.runtime.bundle import read_bundle
from service.runtime.engine import Engine
from service.settings import BUNDLED_MODELS, Settings
from service.tokens.canvas import apply_edits
from service.tokens.edits import parse_edits
from service.tokens.heatmaps import region_map, tile, token_map
from service.tokens.pictures import decode_image
from service.tokens.types import Floats, Pixels

PHOTOS = ("rocket", "chelsea", "coffee", "astronaut")
NUM_MAPS = 3


def main(out: Path) -> None:
    """Write the picture."""
    bundle = read_bundle(BUNDLED_MODELS / "stellar-tiny")
    engine = Engine(bundle, Settings.model_validate({"threads": 1, "max_batch": 1}), tell=print)
    tiles = [captioned for name in PHOTOS for captioned in _row(engine, name)]
    sheet = tile(tiles, columns=len(tiles) // len(PHOTOS))
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)


def _row(engine: Engine, name: str) -> list[tuple[str, Image.Image]]:
    manifest = engine.manifest
    grid, size = manifest.grid, manifest.size
    buffer = io.BytesIO()
    Image.fromarray(getattr(skimage.data, name)()).save(buffer, "PNG")
    pixels = decode_image(buffer.getvalue(), size, "crop", 10**8).pixels
    encoded = engine.run("encode", {"image": pixels[None]})
    semantics: Floats = encoded["semantics"][0].astype(np.float32)
    localization: Floats = encoded["localization"][0].astype(np.float32)
    largest = np.argsort(-np.bincount(localization.argmax(axis=1), minlength=localization.shape[1]))
    dropped = int(largest[0])
    edited = apply_edits(semantics, localization, grid, parse_edits([{"op": "drop", "token": dropped}], 1))
    return [
        (name, Image.fromarray(pixels)),
        ("regions", region_map(pixels, localization, grid)),
        *((f"token {k}", token_map(localization, int(k), grid, size)) for k in largest[:NUM_MAPS]),
        ("reconstruction", Image.fromarray(_drawn(engine, semantics, localization))),
        (f"without {dropped}", Image.fromarray(_drawn(engine, *edited))),
    ]


def _drawn(engine: Engine, semantics: Floats, localization: Floats) -> Pixels:
    arrays = {"semantics": semantics[None], "localization": localization[None]}
    image: Pixels = engine.run("decode", arrays)["image"][0].astype(np.uint8)  # type: ignore[arg-type]
    return image


if __name__ == "__main__":
    main(Path(sys.argv[1]))

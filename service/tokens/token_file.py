"""Tokens in a safetensors file, full or compact.

n images · h, w grid · r sparse tokens · D width

| tensor | full | compact |
|---|---|---|
| `semantics` (n, r, D) | float32 | int8, times `semantics.scale`, float32 (n, r) |
| `concepts` (n, r, D), where the model has them | float32 | int8, times `concepts.scale`, float32 (n, r) |
| `cls` (n, D) | float32 | int8, times `cls.scale`, float32 (n,) |
| `localization` (n, h, w, r) | float32 | uint8, 255 · (share / the patch's largest share) ^ ¼ |

The metadata names the model and, as JSON, the images' sources. Semantics may be float16 without a scale, too,
as in the tables of bulk jobs. The fourth root keeps shares down to a billionth of the largest: they are what
a patch falls back on when an edit drops its main token.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from service.tokens.box import Box
from service.tokens.pictures import MAX_PIXELS, Source
from service.tokens.pooling import placed

SAFETENSORS = "application/vnd.safetensors"
Storage = Literal["full", "compact"]
ROOT = 4
LEVELS = 255
ROWS = ("semantics", "concepts", "cls")
"""Arrays whose rows have a scale each in the compact form."""
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class ImageTokens:
    """One image's tokens, and where they come from."""

    semantics: NDArray[np.float32]
    """(r, D): what there is."""
    localization: NDArray[np.float32]
    """(h, w, r): where it is; every patch's shares sum to 1."""
    cls: NDArray[np.float32]
    """(D,): the whole image at once."""
    model: str
    """name@version of the model that made them."""
    source: Source
    """The rectangle of the picture that they cover."""
    concepts: NDArray[np.float32] | None = None
    """(r, D): the semantics less the mean of their number, for search; None where the model has none."""

    @property
    def placed(self) -> list[int]:
        """The tokens that have a place: the largest one of some patch."""
        return placed(self.localization)


def pack(images: Sequence[ImageTokens], storage: Storage = "full") -> bytes:
    """The file of one or more images' tokens. Raises `ValueError` where they are none or of two models."""
    models = {image.model for image in images}
    if len(models) != 1:
        raise ValueError(f"expected the tokens of one model, got {sorted(models)}")
    arrays: Arrays = {
        name: np.stack([getattr(image, name) for image in images])
        for name in ("semantics", "concepts", "localization", "cls")
        if getattr(images[0], name) is not None
    }
    sources = json.dumps([asdict(image.source) for image in images])
    metadata = {"model": models.pop(), "sources": sources}
    arrays = compact(arrays) if storage == "compact" else arrays
    # safetensors writes memory as it lies, whatever the strides say.
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata=metadata)


def unpack(data: bytes) -> list[ImageTokens]:
    """The images of a file that `pack` or the service has made, in either form.

    Raises `ValueError` for anything else.
    """
    arrays = load_arrays(data)
    try:
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        model, sources = metadata["model"], _sources(metadata["sources"])
        semantics, localization, cls = (arrays[name] for name in ("semantics", "localization", "cls"))
    except KeyError as error:
        raise ValueError(f"the safetensors file holds no tokens: {error} is missing") from None
    concepts = arrays.get("concepts")
    n, shapes = len(sources), [list(array.shape) for array in (semantics, localization, cls)]
    if (
        [len(shape) for shape in shapes] != [3, 4, 2]
        or any(0 in shape for shape in shapes)
        or any(shape[0] != n for shape in shapes)
        or (concepts is not None and concepts.shape != semantics.shape)
    ):
        raise ValueError(
            f"the safetensors file holds no tokens: expected semantics (n, r, D), and concepts if any, "
            f"localization (n, h, w, r) and cls (n, D) of {n} images, got {', '.join(map(str, shapes))}"
        )
    return [
        ImageTokens(semantics=s, localization=x, cls=c, model=model, source=source, concepts=k)
        for s, x, c, k, source in zip(
            semantics,
            localization,
            cls,
            [None] * n if concepts is None else concepts,
            sources,
            strict=True,
        )
    ]


def unpack_row(packed: bytes | None) -> ImageTokens:
    """The picture of a table's row. Raises `ValueError` where it is none, or several."""
    images = [] if packed is None else unpack(packed)
    if len(images) != 1:
        raise ValueError(f"expected the tokens of one picture in each row, got {len(images)}")
    return images[0]


def _sources(text: str) -> list[Source]:
    try:
        told = json.loads(text)
        return [source_of(each["width"], each["height"], each["rectangle"], each.get("box")) for each in told]
    except (KeyError, TypeError, json.JSONDecodeError):
        raise ValueError("sources: expected a list with width, height and rectangle of each image") from None


def source_of(width: Any, height: Any, rectangle: Any, box: Any = None) -> Source:
    """What a file or a table tells of a picture, whose part `box` is, or all of it where None.

    Raises `ValueError` where no picture can be so.
    """
    try:
        source = Source(
            width=operator.index(width),
            height=operator.index(height),
            rectangle=_rectangle(rectangle),
            box=_rectangle((0.0, 0.0, width, height) if box is None else box),
        )
        if min(source.width, source.height) < 1 or source.width * source.height > MAX_PIXELS:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(
            f"source: expected the size of a picture, and rectangle and box as left, top, right, bottom, "
            f"got {width!r} x {height!r}, {rectangle!r} and {box!r}"
        ) from None
    return source


def _rectangle(told: Any) -> Box:
    """Raises `TypeError` and `ValueError` where it is none, or has nothing in it."""
    left, top, right, bottom = map(float, told)
    if not (math.isfinite(right - left) and math.isfinite(bottom - top) and left < right and top < bottom):
        raise ValueError
    return left, top, right, bottom


def load_arrays(data: bytes) -> Arrays:
    """Every tensor of a safetensors file, in full. Raises `ValueError` where it is none, or unsound."""
    try:
        arrays: Arrays = load(data)
    except (SafetensorError, ValueError, KeyError):
        raise ValueError("the bytes are no safetensors file") from None
    return expand(arrays)


def compact(arrays: Mapping[str, NDArray[np.float32]]) -> Arrays:
    """The compact form of full arrays."""
    small: Arrays = {"localization": shares_to_uint8(arrays["localization"])}
    for name in arrays.keys() & ROWS:
        small[name], small[f"{name}.scale"] = _to_int8(arrays[name])
    return small


def shares_to_uint8(localization: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Shares (…, r) in the compact form."""
    shares = localization / localization.max(axis=-1, keepdims=True)
    levels: NDArray[np.uint8] = np.rint(LEVELS * shares ** (1 / ROOT)).astype(np.uint8)
    return levels


def shares_of_uint8(localization: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Shares (…, r) of the compact form; they sum to 1 where there are any."""
    shares = ((np.arange(LEVELS + 1) / LEVELS) ** ROOT).astype(np.float32)
    weights: NDArray[np.float32] = shares[localization]
    mass = weights.sum(axis=-1, keepdims=True)
    np.divide(weights, mass, out=weights, where=mass > 0)
    return weights


def expand(arrays: Arrays) -> Arrays:
    """The full form of compact arrays; full ones stay as they are. Raises `ValueError` for unsound ones."""
    full = dict(arrays)
    for name in ROWS:
        scale = full.pop(f"{name}.scale", None)
        if scale is None:
            continue
        values = arrays[name] if name in arrays else np.empty(0)
        if values.dtype != np.int8 or scale.dtype != np.float32 or scale.shape != values.shape[:-1]:
            raise ValueError(
                f"{name}: expected int8 and a float32 scale for each row, "
                f"got {values.dtype} {list(values.shape)} and {scale.dtype} {list(scale.shape)}"
            )
        with np.errstate(over="ignore", invalid="ignore"):  # whoever uses them asks for finite numbers
            full[name] = values * scale[..., None]
    localization = full.get("localization")
    if localization is not None and localization.dtype == np.uint8:
        if localization.ndim == 0:
            raise ValueError("localization: expected shares of tokens, got a lone number")
        full["localization"] = shares_of_uint8(localization)
    elif "semantics.scale" in arrays and localization is not None:
        raise ValueError(f"localization: expected uint8 in the compact form, got {localization.dtype}")
    return full


def _to_int8(rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Rows (…, D) as int8, and each one's scale (…,)."""
    scale = np.abs(rows).max(axis=-1) / 127
    safe = np.where(scale > 0, scale, 1)[..., None]
    return np.rint(rows / safe).astype(np.int8), scale.astype(np.float32)

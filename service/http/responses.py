"""What callers get: JSON, npy, safetensors or pictures, as their Accept header prefers."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image
from starlette.responses import Response

from service.errors import NotAcceptable, ServiceError
from service.models.served import ServedModel
from service.tokens.heatmaps import contact_sheet, png, region_map, token_map
from service.tokens.pictures import DecodedImage
from service.tokens.psnr import psnr_db
from service.tokens.token_file import SAFETENSORS, ImageTokens, Storage, pack
from service.tokens.types import Pixels, Tokens

JSON = "application/json"
NPY = "application/x-npy"
PNG, WEBP, JPEG = "image/png", "image/webp", "image/jpeg"
PICTURES = (PNG, WEBP, JPEG)

LONGEST_ACCEPT = 4096
"""Characters of an Accept header that is looked at: answers to it are kept."""

Encoding = Literal["float", "base64"]


@lru_cache
def negotiate(accept: str | None, offered: tuple[str, ...]) -> str:
    """The offered type that the Accept header likes best; the first offered one wins a draw.

    Raises `NotAcceptable` (RFC 9110, 12.5.1).
    """
    if accept is not None and len(accept) > LONGEST_ACCEPT:
        raise NotAcceptable(f"Accept: expected at most {LONGEST_ACCEPT} characters, got {len(accept)}.")
    best, best_quality = None, 0.0
    ranges = [weighted(part) for part in (accept or "*/*").split(",")]
    for kind in offered:
        # The most specific range that matches decides.
        matching = [(r.count("*"), -q) for r, q in ranges if _matches(r, kind)]
        quality = -min(matching)[1] if matching else 0.0
        if quality > best_quality:
            best, best_quality = kind, quality
    if best is None:
        raise NotAcceptable(f"The answer can be {', '.join(offered)}; none of them is accepted ({accept}).")
    return best


def json_response(document: Any) -> Response:
    """Compact JSON; arrays become nested lists."""
    return Response(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY), media_type=JSON)


def numbers(array: NDArray[np.float32], encoding: Encoding) -> NDArray[np.float32] | str:
    """What JSON has in an array's place: the array itself, or base64 of little-endian float32."""
    if encoding == "base64":
        return base64.b64encode(array.astype("<f4").tobytes()).decode()
    return np.ascontiguousarray(array)  # the only kind that orjson takes


def data(results: Sequence[dict[str, Any] | ServiceError], request_id: str | None) -> list[dict[str, Any]]:
    """The items of an answer: each with its index and either its fields or its error."""
    return [
        {"index": i} | ({"error": r.problem(request_id)} if isinstance(r, ServiceError) else r)
        for i, r in enumerate(results)
    ]


def npy_response(arrays: Sequence[NDArray[np.float32]]) -> Response:
    """One stacked array in NumPy's format."""
    content = b"".join([_npy_header(len(arrays), *arrays[0].shape), *(array.tobytes() for array in arrays)])
    return Response(content, media_type=NPY)


@lru_cache
def _npy_header(*shape: int) -> bytes:
    """What stands before the numbers of a float32 array of this shape."""
    buffer = io.BytesIO()
    np.save(buffer, np.empty(shape, np.float32))
    return buffer.getvalue()[: -4 * math.prod(shape)]


def tokens_item(
    model: ServedModel, image: DecodedImage, tokens: Tokens, encoding: Encoding, heatmaps: bool
) -> dict[str, Any]:
    """An image's tokens as JSON fields; localization has the shape (h, w, r), of which grid tells h and w."""
    grid = model.manifest.grid
    maps = tokens.localization.reshape(*grid, -1)
    item = {
        "semantics": numbers(tokens.semantics, encoding),
        "localization": numbers(maps, encoding),
        "grid": grid,
        "source": asdict(image.source),
    }
    if tokens.concepts is not None:
        item["concepts"] = numbers(tokens.concepts, encoding)
    if heatmaps:
        size = image.pixels.shape[0], image.pixels.shape[1]
        item["heatmaps"] = {
            "regions": _base64_png(region_map(image.pixels, tokens.localization, grid)),
            "tokens": [
                _base64_png(token_map(tokens.localization, k, grid, size))
                for k in range(model.manifest.num_sparse_tokens)
            ],
        }
    return item


def safetensors_response(
    model: ServedModel, images: Sequence[DecodedImage], tokens: Sequence[Tokens], storage: Storage
) -> Response:
    """The images' tokens in one file."""
    grid = model.manifest.grid
    packed = [
        ImageTokens(
            semantics=t.semantics,
            localization=t.localization.reshape(*grid, -1),
            cls=t.cls,
            concepts=t.concepts,
            model=model.id,
            source=image.source,
        )
        for image, t in zip(images, tokens, strict=True)
    ]
    return Response(pack(packed, storage), media_type=SAFETENSORS)


def sheet_response(model: ServedModel, image: DecodedImage, tokens: Tokens) -> Response:
    """The contact sheet of one image."""
    sheet = contact_sheet(image.pixels, tokens.localization, model.manifest.grid)
    return Response(png(sheet), media_type=PNG)


def encode_picture(pixels: Pixels, kind: str, quality: int) -> bytes:
    """Pixels (H, W, 3) as PNG, WebP or JPEG."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if kind == PNG:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, kind.removeprefix("image/").upper(), quality=quality)
    return buffer.getvalue()


class Drawn(NamedTuple):
    """A picture (H, W, 3) that was drawn, and the one that the model saw, where there was one."""

    pixels: Pixels
    seen: Pixels | None = None

    @property
    def psnr_db(self) -> float | None:
        """How close it comes to what the model saw, in dB to two places."""
        return None if self.seen is None else round(psnr_db(self.pixels, self.seen), 2)


def picture_response(drawn: Drawn, kind: str, quality: int) -> Response:
    """A picture as PNG, WebP or JPEG."""
    headers = {} if drawn.seen is None else {"x-stellar-psnr-db": str(drawn.psnr_db)}
    return Response(encode_picture(drawn.pixels, kind, quality), media_type=kind, headers=headers)


def picture_item(drawn: Drawn, quality: int) -> dict[str, Any]:
    """A picture as JSON fields."""
    image = base64.b64encode(encode_picture(drawn.pixels, PNG, quality)).decode()
    told = {} if drawn.seen is None else {"psnr_db": drawn.psnr_db}
    return {"image": image, "media_type": PNG, **told}


def _base64_png(image: Image.Image) -> str:
    return base64.b64encode(png(image)).decode()


def weighted(part: str) -> tuple[str, float]:
    """A part of an Accept or Accept-Encoding header, and its weight (RFC 9110, 12.4.2)."""
    kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return kind, float(parameter[2:])
            except ValueError:
                return kind, 0.0
    return kind, 1.0


def _matches(media_range: str, kind: str) -> bool:
    return media_range in ("*/*", kind) or (
        media_range.endswith("/*") and kind.startswith(media_range.removesuffix("*"))
    )

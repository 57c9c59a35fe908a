"""POST /embed, /tokens, /reconstruct: pictures in; vectors, tokens or pictures out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.errors import BadEdit, BadOption, BadRequest, BadTokens, ServiceError
from service.http.dependencies import BEARER, DirectRoute, KitDep
from service.http.disconnect import run_while_connected
from service.http.documents import read_value
from service.http.items import Item
from service.http.openapi import EMBED_DOCS, RECONSTRUCT_DOCS, TOKENS_DOCS
from service.http.options import EmbedOptions, ReconstructOptions, TokensOptions
from service.http.requests import Upload, in_thread_if, read_upload
from service.http.responses import (
    JSON,
    NPY,
    PICTURES,
    PNG,
    Drawn,
    data,
    json_response,
    negotiate,
    npy_response,
    numbers,
    picture_item,
    picture_response,
    safetensors_response,
    sheet_response,
    tokens_item,
)
from service.http.tokens import read_tokens
from service.http.work import Seen, Work, all_good
from service.models.served import ServedModel
from service.tokens.box import WHOLE
from service.tokens.canvas import apply_edits
from service.tokens.choices import Pooling
from service.tokens.edits import Edit, parse_edits
from service.tokens.token_file import SAFETENSORS
from service.tokens.types import Floats

router = APIRouter(tags=["images"], route_class=DirectRoute, dependencies=[BEARER])


@router.post("/embed", summary="Images to vectors", openapi_extra=EMBED_DOCS)
async def embed(request: Request, kit: KitDep) -> Response:
    """One vector for each image, for search: similar pictures have a high cosine."""
    kind = negotiate(request.headers.get("accept"), (JSON, NPY))
    upload = await read_upload(request, kit.settings.max_images)
    _refuse_extras(upload)
    options = upload.parse_options(EmbedOptions)
    work = kit.begin(request.state.client, kit.models.get(options.model), fit=options.fit, box=options.box)
    pooling = work.choose(options.pooling)
    with work.admitted(len(upload.images)):
        embedding = work.embed_all(upload.images, normalize=options.normalize)
        vectors = await run_while_connected(request, embedding)
    if kind == JSON:
        work.count_refused(vectors)
    return await work.respond(
        partial(_embed_response, kind, work.model, pooling, vectors, options, request.state.request_id),
        small=len(vectors) == 1,
    )


@router.post("/tokens", summary="Images to tokens and their places", openapi_extra=TOKENS_DOCS)
async def tokens(request: Request, kit: KitDep) -> Response:
    """What is in each image (semantics) and where (localization), as numbers, as a file, or as heat maps.

    Where the model has statistics, also semantics less the mean of their number (concepts), for search.
    """
    kind = negotiate(request.headers.get("accept"), (JSON, SAFETENSORS, "application/octet-stream", PNG))
    upload = await read_upload(request, kit.settings.max_images)
    _refuse_extras(upload)
    options = upload.parse_options(TokensOptions)
    work = kit.begin(request.state.client, kit.models.get(options.model), fit=options.fit, box=options.box)
    if kind in (JSON, PNG) and options.storage == "compact":
        raise BadOption(f"storage: compact is a form of safetensors; accept {SAFETENSORS}, not {kind}.")
    if kind == PNG and len(upload.images) > 1:
        raise BadRequest(
            "A sheet of heat maps shows one image; send one, or ask for JSON with heatmaps=true."
        )
    with work.admitted(len(upload.images)):
        seen = await run_while_connected(request, work.see_all(upload.images, concepts=kind != PNG))
    if kind == JSON:
        work.count_refused(seen)
    return await work.respond(
        partial(_tokens_response, kind, work.model, seen, options, request.state.request_id),
        small=len(seen) == 1 and kind != PNG and not options.heatmaps,
    )


@router.post("/reconstruct", summary="Images or tokens to pictures", openapi_extra=RECONSTRUCT_DOCS)
async def reconstruct(request: Request, kit: KitDep) -> Response:
    """The picture that tokens stand for, after edits; of an image, how close it comes to it (PSNR).

    Edits: drop, keep, scale, swap, replace, blend, move, paint.
    """
    kind = negotiate(request.headers.get("accept"), (*PICTURES, JSON))
    upload = await read_upload(request, kit.settings.max_images)
    options = upload.parse_options(ReconstructOptions)
    edits = await in_thread_if(upload.large, _edits, options.edits, kit.settings.max_edits)
    work = kit.begin(request.state.client, kit.models.get(options.model), fit=options.fit, box=options.box)
    given: list[tuple[Floats, Floats]] = []
    if upload.tokens is not None:
        given = await in_thread_if(
            upload.large, read_tokens, upload.tokens, work.model.manifest, kit.settings.max_images
        )
    with work.admitted(len(upload.images) + len(upload.donors) + len(given)):
        pictures = await run_while_connected(request, _reconstruct_all(work, upload, given, edits))
    if len(pictures) > 1:
        kind = negotiate(request.headers.get("accept"), (JSON,))
    if kind == JSON:
        work.count_refused(pictures)
    return await work.respond(
        partial(_pictures_response, kind, work.model, pictures, options, request.state.request_id)
    )


async def _reconstruct_all(
    work: Work, upload: Upload, given: Sequence[tuple[Floats, Floats]], edits: Sequence[Edit]
) -> list[Drawn | ServiceError]:
    """Every image's or token set's picture, or its error."""
    seen_donors = await replace(work, box=WHOLE).see_all(upload.donors)
    donors = [seen.tokens.semantics for seen in all_good(seen_donors)]
    if given and upload.images:
        raise BadTokens("Send images or tokens, not both.")

    async def draw(pair: tuple[Floats, Floats]) -> Drawn:
        return Drawn(await work.draw(*apply_edits(*pair, work.model.manifest.grid, edits, donors)))

    async def redraw(item: Item) -> Drawn:
        seen = await work.see(item)
        drawn = await draw((seen.tokens.semantics, seen.tokens.localization))
        return drawn._replace(seen=seen.image.pixels)

    return await work.settle(draw, given) if given else await work.settle(redraw, upload.images)


def _embed_response(
    kind: str,
    model: ServedModel,
    pooling: Pooling,
    vectors: Sequence[Floats | ServiceError],
    options: EmbedOptions,
    request_id: str,
) -> Response:
    if kind == NPY:
        return npy_response(all_good(vectors))
    items = [
        v if isinstance(v, ServiceError) else {"embedding": numbers(v, options.encoding_format)}
        for v in vectors
    ]
    document = {
        "model": model.id,
        "pooling": pooling,
        "dimension": model.manifest.width,
        "data": data(items, request_id),
    }
    return json_response(document)


def _tokens_response(
    kind: str,
    model: ServedModel,
    seen: Sequence[Seen | ServiceError],
    options: TokensOptions,
    request_id: str,
) -> Response:
    if kind == PNG:
        return sheet_response(model, *all_good(seen)[0])
    if kind != JSON:
        good = all_good(seen)
        return safetensors_response(model, [s.image for s in good], [s.tokens for s in good], options.storage)
    items = [
        s
        if isinstance(s, ServiceError)
        else tokens_item(model, s.image, s.tokens, options.encoding_format, options.heatmaps)
        for s in seen
    ]
    manifest = model.manifest
    document = {
        "model": model.id,
        "grid": manifest.grid,
        "num_sparse_tokens": manifest.num_sparse_tokens,
        "width": manifest.width,
        "data": data(items, request_id),
    }
    return json_response(document)


def _pictures_response(
    kind: str,
    model: ServedModel,
    pictures: Sequence[Drawn | ServiceError],
    options: ReconstructOptions,
    request_id: str,
) -> Response:
    if kind != JSON:
        return picture_response(all_good(pictures)[0], kind, options.quality)
    items = [p if isinstance(p, ServiceError) else picture_item(p, options.quality) for p in pictures]
    return json_response({"model": model.id, "data": data(items, request_id)})


def _edits(edits: Any, max_edits: int) -> list[Edit]:
    """Edits as JSON sends them, or as a form's text. Raises `BadEdit` and `JsonTooLarge`."""
    if isinstance(edits, str):
        try:
            edits = read_value(edits)
        except ValueError:
            raise BadEdit("edits: the text is no valid JSON.") from None
    return parse_edits(list(edits) if isinstance(edits, tuple) else edits, max_edits)


def _refuse_extras(upload: Upload) -> None:
    if upload.tokens is not None or upload.donors:
        raise BadRequest("Tokens and donor images are taken by /reconstruct only.")

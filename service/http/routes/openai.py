"""POST /v1/embeddings, GET /v1/models: for clients that speak as OpenAI's do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.errors import BadImage, BadOption
from service.http.dependencies import BEARER, KitDep, ModelsDep, WorkRoute
from service.http.disconnect import run_while_connected
from service.http.documents import read_body
from service.http.openai.embeddings import EmbeddingsOptions, read_embeddings
from service.http.openapi import EMBEDDINGS_DOCS
from service.http.responses import json_response, numbers
from service.models.served import ServedModel
from service.tokens.choices import Pooling
from service.tokens.types import Floats

router = APIRouter(prefix="/v1", tags=["OpenAI"], route_class=WorkRoute, dependencies=[BEARER])


@router.post("/embeddings", summary="Images to vectors", openapi_extra=EMBEDDINGS_DOCS)
async def embeddings(request: Request, kit: KitDep) -> Response:
    """One vector for each image. There is no place for errors beside vectors: one bad image fails all."""
    body = await read_body(request)
    options, images = await asyncio.to_thread(read_embeddings, body, kit.settings.max_inputs)
    work = kit.begin(
        request.state.client, kit.models.get(options.model_name), fit=options.fit, box=options.box
    )
    width = work.model.manifest.width
    if options.dimensions not in (0, width):
        raise BadOption(
            f"dimensions: the vectors of {work.model.id} have {width} numbers and are not shortened, "
            f"got {options.dimensions}: leave it away.",
            param="dimensions",
        )

    pooling = work.choose(options.pooling)
    embed = partial(work.embed, normalize=options.normalize)
    try:
        with work.admitted(len(images)):
            vectors = await run_while_connected(request, work.all_of(embed, images))
    except BadImage as error:
        error.param = options.field
        raise
    return await work.respond(
        partial(_embeddings_response, work.model, pooling, vectors, options), small=len(vectors) == 1
    )


@router.get("/models", summary="What is served")
async def list_models(models: ModelsDep) -> dict[str, Any]:
    """Every model, under the name that `model` takes."""
    return {"object": "list", "data": [_describe(model) for model in models]}


@router.get("/models/{model:path}", summary="One model")
async def model(model: str, models: ModelsDep) -> dict[str, Any]:
    """A model by its name or name@version; 404 where it is not served."""
    return _describe(models.get(model))


def _embeddings_response(
    model: ServedModel, pooling: Pooling, vectors: Sequence[Floats], options: EmbeddingsOptions
) -> Response:
    patches = len(vectors) * model.manifest.num_patches  # what the model has read, as OpenAI counts tokens
    data = [
        {"object": "embedding", "index": i, "embedding": numbers(vector, options.encoding_format)}
        for i, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": patches, "total_tokens": patches}
    document = {"object": "list", "data": data, "model": model.id, "pooling": pooling, "usage": usage}
    return json_response(document)


def _describe(model: ServedModel) -> dict[str, Any]:
    # A bundle carries no date.
    return {"id": model.manifest.name, "object": "model", "created": 0, "owned_by": "stellar-service"}

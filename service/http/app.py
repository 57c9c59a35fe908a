"""The application: objects built in its lifespan, routes, and how errors become answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response

from service.errors import ServiceError, Unavailable
from service.host.member import Member
from service.http.auth import Keys
from service.http.bodies import COPIES, Bodies, BodyLimit, BodyMemory
from service.http.compression import Decompression
from service.http.dependencies import Kit
from service.http.dialects import error_response, what_it_takes, where_it_is
from service.http.middleware import PROBE, RequestContext
from service.http.routes import images, oip, openai, pages, system
from service.models.hosted import HostedModels
from service.models.loaded import LoadedModels
from service.runtime.resources import available_memory
from service.settings import Settings
from service.tokens.pictures import Pictures
from service.watch.logs import logger
from service.watch.metrics import Metrics
from service.watch.tracing import Tracing

DESCRIPTION = """
Turns pictures into a handful of editable visual tokens, and back.

```
curl -F image=@cat.jpg localhost:8000/embed
curl --data-binary @cat.jpg -H 'content-type: image/jpeg' localhost:8000/tokens
curl -F image=@cat.jpg -F 'edits=[{"op":"drop","token":3}]' localhost:8000/reconstruct -o out.png
```
"""


def create_app(settings: Settings, member: Member | None = None) -> FastAPI:
    """An application with these settings, alone or a `member` of several that are one service.

    Raises `ValueError` where API keys are asked for but absent, or tracing without its extra.
    """
    tracing = Tracing("stellar-api") if settings.tracing else None
    metrics = Metrics(tracing)
    keys = Keys(settings)
    bodies = Bodies(settings.body_memory or available_memory() // 4)
    max_bytes = min(settings.max_body_bytes, bodies.max_bytes // COPIES)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        models = app.state.models = (
            LoadedModels(settings, metrics)
            if member is None or member.engine is None
            else HostedModels(settings, metrics, member.engine)
        )
        if member is not None:
            await member.join(metrics.registry, models.reload)
        pictures = Pictures(max_pixels=settings.max_image_pixels)
        app.state.kit = Kit(models=models, pictures=pictures, settings=settings, metrics=metrics)
        yield
        await models.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)
        logger.info("stopped")

    app = FastAPI(
        title="STELLAR",
        description=DESCRIPTION,
        version=version("stellar-service"),
        docs_url=None,  # the framework's own pages load their code from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # it would trust the Host header, before any key is looked at
        lifespan=lifespan,
        middleware=[
            Middleware(RequestContext, metrics=metrics),
            Middleware(BodyLimit, max_bytes=max_bytes),
            Middleware(Decompression, max_bytes=max_bytes),
            Middleware(BodyMemory, bodies=bodies),
        ],
        telemetry={
            "tracing": tracing is not None,
            "tracer_provider": None if tracing is None else tracing.provider,
            "exclude": lambda scope: PROBE.fullmatch(scope["path"]) is not None,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    app.state.settings, app.state.metrics, app.state.keys = settings, metrics, keys
    app.state.bodies, app.state.max_bytes = bodies, max_bytes
    app.state.member = member
    for part in (images, openai, oip, system, pages):
        app.router.routes += part.router.routes  # `include_router` would look for each route twice
    app.add_exception_handler(ServiceError, _answer_service_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    return app


def _answer(request: Request, error: ServiceError) -> Response:
    request.state.refused = error.code  # counted when the request is
    return error_response(request.url.path, error, request.state.request_id)


async def _answer_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    if error.status >= 500 and not isinstance(error, Unavailable):
        logger.warning("failed", code=error.code, detail=error.detail)
    return _answer(request, error)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    """Starlette's own: unknown paths, wrong methods."""
    assert isinstance(error, HTTPException)
    path, headers = request.url.path, dict(error.headers or {})
    answer = ServiceError(str(error.detail))
    if error.status_code == 404:
        answer.detail = where_it_is(path)
    elif error.status_code == 405:
        if headers["Allow"] == "GET":
            headers["Allow"] = "GET, HEAD"
        answer.detail = what_it_takes(request.method, path, headers["Allow"])
    answer.status = error.status_code
    answer.code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    answer.title = str(error.detail)
    response = _answer(request, answer)
    response.headers.update(headers)  # which methods are allowed
    return response


async def _answer_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    answer = ServiceError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    answer.status, answer.code, answer.title = 400, "bad_request", "Bad request"
    return _answer(request, answer)

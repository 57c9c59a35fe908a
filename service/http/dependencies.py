"""What handlers are given: the objects that the application's lifespan built."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from service.batching.lanes import lane_capacity
from service.errors import NotReady
from service.http.auth import Keys
from service.http.work import Work
from service.models.models import Models
from service.models.served import ServedModel
from service.settings import Settings
from service.tokens.box import WHOLE, Box
from service.tokens.choices import Fit
from service.tokens.pictures import Pictures
from service.watch.metrics import Metrics

BEARER = Security(
    HTTPBearer(auto_error=False, scheme_name="API key", description="Where the service wants one.")
)
"""Lets /docs send a key."""

Described = Annotated[HTTPAuthorizationCredentials | None, BEARER]


# Dependencies are coroutines even where they wait for nothing: FastAPI calls plain functions in a thread.
async def _metrics(request: Request) -> Metrics:
    return request.app.state.metrics  # type: ignore[no-any-return]


async def _models(request: Request) -> Models:
    return request.app.state.models  # type: ignore[no-any-return]


async def require_key(request: Request, _described: Described) -> None:
    """Let only callers with an accepted key pass, where keys are set. Raises `Unauthorized`."""
    keys: Keys = request.app.state.keys
    request.state.client = keys.check(request)


class ReadRoute(APIRoute):
    """A route that answers HEAD where it answers GET; the server leaves the content away."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Starlette's."""
        return super().matches({**scope, "method": "GET"} if _is_head(scope) else scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if _is_head(scope) and "GET" in (self.methods or ()):
            await self.app(scope, receive, send)
        else:
            await super().handle(scope, receive, send)


def _is_head(scope: Scope) -> bool:
    return bool(scope["type"] == "http" and scope["method"] == "HEAD")


class WorkRoute(ReadRoute):
    """A route that works with models: before its body is read it refuses what `require_key` refuses, and
    all while nothing can be served; what it uses stays until it is done.

    FastAPI resolves dependencies to the same end more slowly.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            with _visit(request):
                return await handle(request)

        return guarded


class DirectRoute(WorkRoute):
    """One whose endpoint takes the request and a `Kit`. FastAPI describes it, and is not asked to resolve
    what it takes: that costs as much as all that the service does around a picture.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        request = Request(scope, receive, send)
        with _visit(request):
            response = await self.endpoint(request, request.app.state.kit)
        await response(scope, receive, send)


@contextmanager
def _visit(request: Request) -> Iterator[None]:
    """Raises `Unauthorized` and `NotReady`."""
    keys: Keys = request.app.state.keys
    models: Models = request.app.state.models
    request.state.client = keys.check(request)
    if models.refusal is not None:
        raise NotReady(models.refusal)
    with models.visits.visit():
        yield


MetricsDep = Annotated[Metrics, Depends(_metrics)]
ModelsDep = Annotated[Models, Depends(_models)]


@dataclass(frozen=True, kw_only=True)
class Kit:
    """What a request's work is begun with."""

    models: Models
    pictures: Pictures
    settings: Settings
    metrics: Metrics

    def begin(
        self,
        client: str,
        model: ServedModel,
        *,
        fit: Fit = "crop",
        box: Box = WHOLE,
        timeout_s: float = math.inf,
    ) -> Work:
        """Start the clock; the settings' limit holds beside `timeout_s`."""
        return Work(
            model=model,
            pictures=self.pictures,
            budget=self.models.budget,
            metrics=self.metrics,
            client=client,
            deadline=time.monotonic() + min(timeout_s, self.settings.request_timeout_s),
            fit=fit,
            box=box,
            at_once=min(self.settings.max_images, lane_capacity("bulk", self.settings.max_queue)),
        )


async def _kit(request: Request) -> Kit:
    return request.app.state.kit  # type: ignore[no-any-return]


KitDep = Annotated[Kit, Depends(_kit)]

"""What operators ask: is it alive, is it ready, what does it serve, how does it fare."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from service.errors import NotReady
from service.host.member import Member
from service.http.dependencies import MetricsDep, ModelsDep, ReadRoute, require_key
from service.models.served import ServedModel
from service.watch.metrics import render

router = APIRouter(route_class=ReadRoute)


@router.get("/healthz/live", tags=["operations"], summary="Is the process up?")
async def live() -> dict[str, str]:
    """200 as long as the process answers at all."""
    return {"status": "live"}


@router.get("/healthz/ready", tags=["operations"], summary="Can it serve?")
async def ready(models: ModelsDep) -> dict[str, Any]:
    """200 once every model is loaded, verified and warm, or has a live worker; else 503 with the reason."""
    if models.told is not None:
        raise NotReady(models.told)
    return {"status": "ready", "models": [model.id for model in models]}


@router.get("/v2/health/live", tags=["Open Inference Protocol"], summary="Is the process up?")
async def protocol_live() -> dict[str, bool]:
    """The same as /healthz/live in the protocol's words."""
    return {"live": True}


@router.get("/v2/health/ready", tags=["Open Inference Protocol"], summary="Can it serve?")
async def protocol_ready(models: ModelsDep) -> dict[str, bool]:
    """The same as /healthz/ready in the protocol's words."""
    await ready(models)
    return {"ready": True}


@router.get("/metrics", tags=["operations"], summary="Prometheus metrics")
async def metrics(request: Request, metrics: MetricsDep) -> Response:
    """The text that Prometheus scrapes; of several processes any one tells of all."""
    member: Member | None = request.app.state.member
    told = metrics.registry if member is None else await member.service()
    text, media_type = render(told, request.headers.get("accept", ""))
    return Response(text, media_type=media_type)


@router.get("/models", tags=["models"], summary="What is served", dependencies=[Depends(require_key)])
async def list_models(request: Request, models: ModelsDep) -> dict[str, Any]:
    """Every model: sizes, precision, measured quality and deviation, active provider; the vectors that
    /embed has of it (`poolings`), its default first.

    `refused` says, by folder, why the bundle that is there now is not the one that is served; `max_edits`,
    how many edits `/reconstruct` takes.
    """
    default = models.get(None)
    return {
        "default": default.manifest.name,
        "models": [_describe(model) for model in models],
        "refused": models.refused,
        "max_edits": request.app.state.settings.max_edits,
    }


def _describe(model: ServedModel) -> dict[str, Any]:
    manifest = model.manifest
    known = {"id": model.id, "provider": model.provider, "poolings": manifest.poolings}
    return known | manifest.model_dump(mode="json", exclude_none=True)

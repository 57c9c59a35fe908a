"""/v2: the Open Inference Protocol, for clients of Triton and KServe; its health is in `system`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as package_version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from service.errors import NotReady
from service.http.dependencies import BEARER, KitDep, ModelsDep, WorkRoute
from service.http.disconnect import run_while_connected
from service.http.documents import read_body
from service.http.oip.calls import Call
from service.http.oip.messages import HEADER_LENGTH, read_call, write_answer
from service.http.oip.stages import Stage, find_stage
from service.http.openapi import INFER_DOCS
from service.models.served import ServedModel

router = APIRouter(
    prefix="/v2",
    tags=["Open Inference Protocol"],
    route_class=WorkRoute,
    dependencies=[BEARER],
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a path names."""

    name: str
    model: ServedModel
    stage: Stage


async def _target(name: str, models: ModelsDep, version: str | None = None) -> Target:
    model, stage = find_stage(models, name, version)
    return Target(name=name, model=model, stage=stage)


TargetDep = Annotated[Target, Depends(_target)]


@router.get("", summary="The server")
async def server() -> dict[str, Any]:
    """Its name, its version, and what it knows beyond the protocol."""
    version = package_version("stellar-service")
    return {"name": "stellar-service", "version": version, "extensions": ["binary_tensor_data"]}


@router.get("/models/{name}", summary="A model's tensors")
@router.get("/models/{name}/versions/{version}", summary="A model's tensors")
async def describe(target: TargetDep) -> dict[str, Any]:
    """Names, types and shapes; -1 stands for any number."""
    return {
        "name": target.name,
        "versions": [target.model.manifest.version],
        "platform": "onnxruntime_onnx",
        "inputs": [spec.describe() for spec in target.stage.inputs],
        "outputs": [spec.describe() for spec in target.stage.outputs],
    }


@router.get("/models/{name}/ready", summary="Can a model be used?")
@router.get("/models/{name}/versions/{version}/ready", summary="Can a model be used?")
async def model_ready(target: TargetDep) -> dict[str, Any]:
    """200 where it can; else 503 with the reason."""
    if target.model.reason is not None:
        raise NotReady(target.model.reason)
    return {"name": target.name, "ready": True}


@router.post("/models/{name}/infer", summary="Run a model", openapi_extra=INFER_DOCS)
@router.post("/models/{name}/versions/{version}/infer", summary="Run a model", openapi_extra=INFER_DOCS)
async def infer(request: Request, kit: KitDep, name: str, version: str | None = None) -> Response:
    """Tensors in, tensors out, as JSON or as bytes behind it."""
    body = await read_body(request)
    # Only now: a body may come slowly, and its model be replaced meanwhile.
    model, stage = find_stage(kit.models, name, version)
    call = await asyncio.to_thread(_read, request, body, stage, kit)
    work = kit.begin(request.state.client, model, timeout_s=call.parameters.timeout_s)
    with work.admitted(call.batch):
        arrays = await run_while_connected(request, stage.run(work, call))
    return await work.respond(
        partial(
            write_answer,
            call,
            arrays,
            model=name,
            version=model.manifest.version,
            pooling=work.pooling,
            accept_encoding=request.headers.get("accept-encoding", ""),
        )
    )


def _read(request: Request, body: bytes, stage: Stage, kit: KitDep) -> Call:
    return read_call(
        body,
        request.headers.get(HEADER_LENGTH),
        inputs=stage.inputs,
        outputs=stage.outputs,
        parameters=stage.parameters,
        max_images=kit.settings.max_images,
    )

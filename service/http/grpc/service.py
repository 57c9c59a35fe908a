"""The methods of inference.GRPCInferenceService."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version as package_version
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from service.errors import BadRequest
from service.http.dependencies import Kit
from service.http.documents import SMALL_BYTES
from service.http.grpc import protocol
from service.http.grpc.calls import Caller, Calls
from service.http.grpc.protocol import SERVICE
from service.http.grpc.reading import Inbox
from service.http.grpc.tensors import read_call, write_answer
from service.http.grpc.wire import cut
from service.http.oip.stages import find_stage
from service.http.oip.tensors import TensorSpec
from service.http.requests import in_thread_if

Answer = Callable[[Caller], Awaitable[bytes]]
Told = tuple[tuple[str, str], ...]


class Inference:
    """What is asked of models, and about them.

    Methods are registered as if clients sent streams: so a message is read when its sender is known.
    """

    def __init__(self, kit: Kit, calls: Calls, inbox: Inbox) -> None:
        self._kit = kit
        self._calls = calls
        self._inbox = inbox

    def handlers(self) -> grpc.GenericRpcHandler:
        """Its methods."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "ServerLive": self._probe("ServerLive", self._live),
                "ServerReady": self._probe("ServerReady", self._ready),
                "ServerMetadata": self._method("ServerMetadata", self._server),
                "ModelReady": self._method("ModelReady", self._model_ready, probe=True),
                "ModelMetadata": self._method("ModelMetadata", self._model),
                "ModelInfer": self._method("ModelInfer", self._infer),
            },
        )

    def _probe(self, name: str, answer: Callable[[], Awaitable[bytes]]) -> Any:
        async def handle(_requests: Any, context: Any) -> bytes:
            return await self._calls.probe(context, f"/{SERVICE}/{name}", answer)

        return grpc.stream_unary_rpc_method_handler(handle)

    def _method(self, name: str, answer: Answer, *, probe: bool = False) -> Any:
        async def handle(_requests: Any, context: Any) -> bytes:
            return await self._calls.work(context, f"/{SERVICE}/{name}", answer, probe=probe)

        return grpc.stream_unary_rpc_method_handler(handle)

    async def _live(self) -> bytes:
        return bytes(protocol.ServerLiveResponse(live=True).SerializeToString())

    async def _ready(self) -> bytes:
        ready = self._kit.models.reason is None
        return bytes(protocol.ServerReadyResponse(ready=ready).SerializeToString())

    async def _server(self, _caller: Caller) -> bytes:
        about = protocol.ServerMetadataResponse(
            name="stellar-service", version=package_version("stellar-service")
        )
        return bytes(about.SerializeToString())

    async def _model_ready(self, caller: Caller) -> bytes:
        request = await self._read(caller, protocol.ModelReadyRequest)
        model, _ = find_stage(self._kit.models, request.name, request.version or None)
        return bytes(protocol.ModelReadyResponse(ready=model.reason is None).SerializeToString())

    async def _model(self, caller: Caller) -> bytes:
        request = await self._read(caller, protocol.ModelMetadataRequest)
        model, stage = find_stage(self._kit.models, request.name, request.version or None)
        about = protocol.ModelMetadataResponse(
            name=request.name,
            versions=[model.manifest.version],
            platform="onnxruntime_onnx",
            inputs=[_described(spec) for spec in stage.inputs],
            outputs=[_described(spec) for spec in stage.outputs],
        )
        return bytes(about.SerializeToString())

    async def _infer(self, caller: Caller) -> bytes:
        message = await self._inbox.read(caller.context, caller.client)
        with self._inbox.held(message, caller.client):
            answer, beside = await infer(self._kit, message, caller)
        caller.context.set_trailing_metadata((("x-request-id", caller.request_id), *beside))
        return answer

    async def _read(self, caller: Caller, kind: Any) -> Any:
        message = await self._inbox.read(caller.context, caller.client)
        try:
            return kind.FromString(message)
        except DecodeError:
            raise BadRequest(f"This is no {kind.DESCRIPTOR.name} that can be read.") from None


async def infer(kit: Kit, message: bytes, caller: Caller) -> tuple[bytes, Told]:
    """The answer to a ModelInferRequest, and what is told beside it. Raises `ServiceError`.

    What is short is read and written on the event loop, before a thread would wake.
    """
    sent = await in_thread_if(len(message) > SMALL_BYTES, cut, message)
    name: str = sent.head.model_name
    model, stage = find_stage(kit.models, name, sent.head.model_version or None)
    call = await in_thread_if(
        len(message) > SMALL_BYTES,
        partial(
            read_call,
            inputs=stage.inputs,
            outputs=stage.outputs,
            parameters=stage.parameters,
            max_images=kit.settings.max_images,
        ),
        sent,
    )
    timeout_s = min(call.parameters.timeout_s, caller.left_s)
    work = kit.begin(caller.client, model, timeout_s=timeout_s)
    with work.admitted(call.batch):
        arrays = await stage.run(work, call)
    write = partial(
        write_answer,
        call,
        arrays,
        model=name,
        version=model.manifest.version,
        pooling=work.pooling,
    )
    answer = await work.written(write, small=sum(each.nbytes for each in arrays.values()) <= SMALL_BYTES)
    return answer, tuple(work.told())


def _described(spec: TensorSpec) -> Any:
    return protocol.ModelMetadataResponse.TensorMetadata(**spec.describe())

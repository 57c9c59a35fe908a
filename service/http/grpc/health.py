"""gRPC's own health (grpc.health.v1), which says what /healthz/ready says; it asks for no key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from service.errors import BadRequest, TooBusy, UnknownModel
from service.http.grpc.calls import Calls
from service.http.grpc.protocol import SERVICE
from service.http.grpc.reading import Inbox
from service.models.models import Models

HEALTH = "grpc.health.v1.Health"
STRANGER = ""
"""What nobody has a key for is read as from one client."""
LOOK_EVERY_S = 0.25
MAX_WATCHES = 64
"""At a time: they last for as long as their clients like."""


class Health:
    """Whether models can be used, of the whole server and of the inference service."""

    def __init__(self, models: Models, calls: Calls, inbox: Inbox) -> None:
        self._models = models
        self._calls = calls
        self._inbox = inbox
        self._watches = 0

    def handlers(self) -> grpc.GenericRpcHandler:
        """Its methods."""
        return grpc.method_handlers_generic_handler(
            HEALTH,
            {
                "Check": grpc.stream_unary_rpc_method_handler(self._check),
                "Watch": grpc.stream_stream_rpc_method_handler(self._watch),
            },
        )

    async def _check(self, _requests: Any, context: Any) -> bytes:
        async def check() -> bytes:
            service = await self._service(context)
            if service not in ("", SERVICE):
                raise UnknownModel(f"There is no service {service!r} here; there is {SERVICE}.")
            return self._answer()

        return await self._calls.probe(context, f"/{HEALTH}/Check", check)

    async def _watch(self, _requests: Any, context: Any) -> None:
        async def watch() -> bool:
            if self._watches >= MAX_WATCHES:
                raise TooBusy(f"{MAX_WATCHES} others watch already: ask by Check.")
            self._watches += 1
            try:
                service = await self._service(context)
                async for answer in self._changes(service):
                    await context.write(answer)
            finally:
                self._watches -= 1
            return True

        await self._calls.probe(context, f"/{HEALTH}/Watch", watch)

    async def _changes(self, service: str) -> AsyncIterator[bytes]:
        """What there is to tell of a service, whenever it is another than before."""
        unknown = health_pb2.HealthCheckResponse(status="SERVICE_UNKNOWN").SerializeToString()
        told = b""
        while True:
            answer = self._answer() if service in ("", SERVICE) else unknown
            if answer != told:
                told = answer
                yield answer
            await asyncio.sleep(LOOK_EVERY_S)

    async def _service(self, context: Any) -> str:
        try:
            message = await self._inbox.read(context, STRANGER)
            return str(health_pb2.HealthCheckRequest.FromString(message).service)
        except DecodeError:
            raise BadRequest("This is no HealthCheckRequest that can be read.") from None

    def _answer(self) -> bytes:
        status = "SERVING" if self._models.reason is None else "NOT_SERVING"
        return bytes(health_pb2.HealthCheckResponse(status=status).SerializeToString())

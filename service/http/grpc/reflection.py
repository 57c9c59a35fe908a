"""gRPC's reflection: what there is to call, for tools such as grpcurl; it wants a key, too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection, reflection_pb2

from service.errors import BadRequest
from service.http.grpc.calls import Caller, Calls
from service.http.grpc.health import HEALTH
from service.http.grpc.protocol import POOL, SERVICE
from service.http.grpc.reading import Inbox

NAMES = ("grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME)
"""Both have the same messages."""
METHOD = "ServerReflectionInfo"


class Reflection:
    """Tells the services and their messages."""

    def __init__(self, calls: Calls, inbox: Inbox) -> None:
        self._calls = calls
        self._inbox = inbox
        self._servicer = reflection.aio.ReflectionServicer((SERVICE, HEALTH), POOL)

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Its method, under both names."""
        return [
            grpc.method_handlers_generic_handler(
                name, {METHOD: grpc.stream_stream_rpc_method_handler(self._handle)}
            )
            for name in NAMES
        ]

    async def _handle(self, _requests: Any, context: Any) -> None:
        async def tell(caller: Caller) -> bool:
            async for answer in self._servicer.ServerReflectionInfo(self._questions(caller), context):
                await context.write(answer.SerializeToString())
            return True

        await self._calls.work(context, f"/{reflection.SERVICE_NAME}/{METHOD}", tell)

    async def _questions(self, caller: Caller) -> AsyncIterator[Any]:
        while (message := await self._inbox.next(caller.context, caller.client)) is not None:
            try:
                yield reflection_pb2.ServerReflectionRequest.FromString(message)
            except DecodeError:
                raise BadRequest("This is no ServerReflectionRequest that can be read.") from None

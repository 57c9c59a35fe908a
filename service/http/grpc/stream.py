"""Many requests on one call: so many at work at a time, answered in their order, each with its own error."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc

from service.batching.lanes import lane_capacity
from service.errors import BadRequest, NotReady, QueueFull, ServiceError, TooBusy
from service.http.dependencies import Kit
from service.http.grpc.calls import Caller, Calls
from service.http.grpc.protocol import SERVICE, ModelStreamInferResponse
from service.http.grpc.reading import Inbox
from service.http.grpc.service import infer
from service.http.grpc.wire import cut, length
from service.http.work import AGAIN_AFTER_S

METHOD = "ModelStreamInfer"
PATH = f"/{SERVICE}/{METHOD}"
INFER_RESPONSE = bytes([2 << 3 | 2])
"""The tag of ModelStreamInferResponse's infer_response."""


@dataclass
class _Stream:
    """A call with many requests."""

    caller: Caller
    room: asyncio.Semaphore
    """For those that are at work: a message is not read before there is some."""
    at_work: int = 0
    last: asyncio.Event = field(default_factory=asyncio.Event)
    """The answer to the request that came last is written."""


class Streams:
    """Calls of ModelStreamInfer."""

    def __init__(self, kit: Kit, calls: Calls, inbox: Inbox) -> None:
        self._kit = kit
        self._calls = calls
        self._inbox = inbox
        settings = kit.settings
        self._at_once = min(settings.max_images, lane_capacity("bulk", settings.max_queue))

    def handlers(self) -> grpc.GenericRpcHandler:
        """Its method."""
        handler = grpc.stream_stream_rpc_method_handler(self._handle)
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})

    async def _handle(self, _requests: Any, context: Any) -> None:
        # It lasts as long as its client likes: its requests are counted, and waited for at the end.
        await self._calls.work(context, PATH, self._serve, probe=True)

    async def _serve(self, caller: Caller) -> bool:
        stream = _Stream(caller, asyncio.Semaphore(self._at_once))
        stream.last.set()
        with self._inbox.place(caller.client):
            async with asyncio.TaskGroup() as group:
                while True:
                    await stream.room.acquire()
                    message = await caller.context.read()
                    if message is grpc.aio.EOF:
                        return True
                    before, stream.last = stream.last, asyncio.Event()
                    group.create_task(self._respond(stream, message, before, stream.last))

    async def _respond(
        self, stream: _Stream, message: bytes, before: asyncio.Event, written: asyncio.Event
    ) -> None:
        """Answer a request, behind the one before."""
        stream.at_work += 1
        context = stream.caller.context
        with self._calls.at_end_waited_for():
            self._calls.begin(context)
            answer, error = await self._calls.recorded(context, PATH, lambda: self._infer(stream, message))
            await before.wait()
            with suppress(grpc.aio.BaseError):  # the client is gone, and the call about to be cancelled
                if error is not None:
                    await context.write(_refusal(message, error))
                elif answer is not None:
                    await context.write(b"".join((INFER_RESPONSE, length(len(answer)), answer)))
        stream.at_work -= 1
        stream.room.release()
        written.set()

    async def _infer(self, stream: _Stream, message: bytes) -> bytes:
        """The answer to a request; it waits where the queue is full and others of its stream are at work.

        Raises `ServiceError`.
        """
        end = time.monotonic() + self._kit.settings.request_timeout_s
        while True:
            if self._kit.models.refusal is not None:
                raise NotReady(self._kit.models.refusal)
            try:
                with self._kit.models.visits.visit(), self._inbox.held(message, stream.caller.client):
                    answer, _ = await infer(self._kit, message, stream.caller)
                    return answer
            except (QueueFull, TooBusy):
                if stream.at_work == 1 or time.monotonic() + AGAIN_AFTER_S > end:
                    raise
            await asyncio.sleep(AGAIN_AFTER_S)


def _refusal(message: bytes, error: ServiceError) -> bytes:
    """What is answered in the place of an answer: the words, our code, and which request it was."""
    answer = ModelStreamInferResponse(error_message=error.detail)
    answer.infer_response.parameters["code"].string_param = error.code
    try:
        head = cut(message).head
    except BadRequest:
        return bytes(answer.SerializeToString())
    answer.infer_response.id, answer.infer_response.model_name = head.id, head.model_name
    return bytes(answer.SerializeToString())

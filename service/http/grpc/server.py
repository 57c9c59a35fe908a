"""gRPC's port, from its opening to its end, on the event loop of HTTP's."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from starlette.datastructures import State

from service.http.grpc.calls import Calls
from service.http.grpc.health import Health
from service.http.grpc.reading import Inbox, longest_message
from service.http.grpc.reflection import Reflection
from service.http.grpc.service import Inference
from service.http.grpc.stream import Streams
from service.settings import Settings
from service.watch.logs import logger

SPARE = 80
"""Calls beyond the most that are let in: probes, and those that are told so."""
MAX_STREAMS = 128
"""Calls on one connection at a time; a client keeps more of them back."""
LAST_S = 0.5
"""What answers that are told at the end may take to be sent."""
IDENTITY = 1
"""Messages that are not compressed, the first bit of those that may come. Others would take a thousand times
their size before anybody can count them."""


class GrpcServer:
    """Listens beside HTTP."""

    def __init__(self, settings: Settings, *, shared: bool) -> None:
        """`shared` lets other processes of the service have the same port."""
        assert settings.grpc_port is not None
        self._settings = settings
        self._shared = shared
        self._calls: Calls | None = None
        self._server: grpc.aio.Server

    def bind(self, state: State) -> None:
        """Take the port; needs a running event loop. Raises `OSError` where somebody else has it."""
        settings = self._settings
        self._longest = longest_message(state.bodies, state.max_bytes)
        options = {
            "grpc.so_reuseport": int(self._shared),
            "grpc.max_receive_message_length": self._longest,
            "grpc.compression_enabled_algorithms_bitset": IDENTITY,
            "grpc.max_concurrent_streams": MAX_STREAMS,
            "grpc.max_allowed_incoming_connections": settings.max_connections,
            "grpc.server_handshake_timeout_ms": round(1000 * settings.header_timeout_s),
            "grpc.max_connection_idle_ms": round(1000 * settings.header_timeout_s),
            "grpc.http2.bdp_probe": 0,  # else much of a message comes before its sender is known
        }
        self._server = grpc.aio.server(
            options=tuple(options.items()), maximum_concurrent_rpcs=settings.max_connections + SPARE
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            port = self._server.add_insecure_port(f"{host}:{settings.grpc_port}")
        except RuntimeError:
            raise OSError(f"gRPC can't listen on {host}:{settings.grpc_port}") from None
        logger.info("grpc_listening", host=settings.host, port=port)

    async def start(self, state: State) -> None:
        """Answer, by what the application has in its state."""
        kit = state.kit
        calls = self._calls = Calls(state.keys, kit.models, kit.metrics, self._settings.max_connections)
        inbox = Inbox(state.bodies, self._longest, self._settings.request_timeout_s)
        self._server.add_generic_rpc_handlers(
            (
                Inference(kit, calls, inbox).handlers(),
                Health(kit.models, calls, inbox).handlers(),
                *Reflection(calls, inbox).handlers(),
                Streams(kit, calls, inbox).handlers(),
            )
        )
        await self._server.start()

    @property
    def tasks(self) -> set[asyncio.Task[Any]]:
        """Those of the calls that wait for their answers, save for probes."""
        return set() if self._calls is None else set(self._calls.tasks)

    async def stop(self) -> None:
        """End what is still at work, and close the port."""
        if self._calls is not None:
            self._calls.end()
        await self._server.stop(LAST_S)

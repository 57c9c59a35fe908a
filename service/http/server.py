"""How the process ends: it says so first, finishes what it has begun, then goes with exit code 0.

SIGHUP makes it take in what has changed in the models' folder.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import threading
import time
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from service.host.member import Member
from service.host.port import listen_on
from service.http.app import create_app
from service.http.connection import Connection
from service.http.door import Door
from service.settings import Settings
from service.watch.logs import logger

if TYPE_CHECKING:  # an extra
    from service.http.grpc.server import GrpcServer

TICK_S = 0.05
CHECK_TICKS = 5
"""uvicorn's, of a tenth of a second, from one look at the connections to the next."""
LAST_S = 1.0
"""What closing may take after the grace. A thread that does not come to its end is not waited for."""


class Server(uvicorn.Server):
    """Listens on while work is in flight, so that readiness can say no and new work hears 503."""

    def __init__(
        self,
        config: uvicorn.Config,
        application: FastAPI,
        door: Door,
        member: Member | None,
        grpc: GrpcServer | None,
    ) -> None:
        super().__init__(config)
        self._application = application
        self._door = door
        self._member = member
        self._grpc = grpc

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Before the models' folder is read: what changes after that is heard of.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        if self._grpc is not None:
            try:
                self._grpc.bind(self._application.state)
            except OSError as error:
                logger.error("port_unavailable", reason=str(error))
                self.should_exit = True
                return
        await super().startup(sockets)
        if self._grpc is not None:
            await self._grpc.start(self._application.state)
        if self._member is not None:
            self._member.up()

    def _reload(self) -> None:
        if hasattr(self._application.state, "models"):
            self._application.state.models.reload()

    async def on_tick(self, counter: int) -> bool:
        if counter % CHECK_TICKS == 0:
            self._door.check()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets work in flight finish; the second ends it."""
        if self.should_exit:
            os._exit(0)
        if self.started:
            self._application.state.models.stop()
        end = threading.Timer(self._grace_s + LAST_S, os._exit, (0,))
        end.daemon = True
        end.start()
        super().handle_exit(sig, frame)

    @property
    def _grace_s(self) -> float:
        return float(self.config.timeout_graceful_shutdown or 0)

    @property
    def _tasks(self) -> set[asyncio.Task[None]]:
        return self.server_state.tasks | (set() if self._grpc is None else self._grpc.tasks)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        end = time.monotonic() + self._grace_s
        while (tasks := self._tasks) and time.monotonic() < end:
            await asyncio.wait(tasks, timeout=TICK_S)
        if self._grpc is not None:
            await self._grpc.stop()
        self.config.timeout_graceful_shutdown = max(0, round(end - time.monotonic()))
        await super().shutdown(sockets)
        # All is closed. A model that still loads can't be stopped, and Python would wait for its thread.
        os._exit(0)


def grpc_class() -> type[GrpcServer]:
    """What listens for gRPC. Raises `ValueError` where the extra is not installed."""
    # Else gRPC writes lines of its own into the log, whoever sends what it does not like.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from service.http.grpc.server import GrpcServer
    except ModuleNotFoundError:
        raise ValueError(
            "grpc_port: its extra is not installed: pip install 'stellar-service[grpc]'"
        ) from None
    return GrpcServer


def run_server(settings: Settings, member: Member | None = None) -> bool:
    """Serve until a signal comes; False where the server could not start, as with a port that is taken.

    A `member` of several processes shares the port with the others.

    Raises `ValueError` where the settings ask for API keys, traces or gRPC, and there are none, or not their
    extra.
    """
    grpc = None if settings.grpc_port is None else grpc_class()(settings, shared=member is not None)
    application = create_app(settings, member)
    door = Door(settings, application.state.metrics)
    config = uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        http=partial(Connection, door),  # type: ignore[arg-type]  # a class, or whatever makes a protocol
        ws="none",
        log_config=None,
        access_log=False,
        timeout_keep_alive=math.ceil(settings.keep_alive_s),
        timeout_graceful_shutdown=settings.shutdown_grace_s,
    )
    server = Server(config, application, door, member, grpc)
    server.run(None if member is None else listen_on(settings.host, settings.port))
    return server.started

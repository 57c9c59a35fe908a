"""How the process ends: it says so first, finishes what it has begun, then goes with exit code 0.

SIGHUP makes it take in what has changed in the models' folder.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.http.app import create_app
from service.settings import Settings

TICK_S = 0.05


class Server(uvicorn.Server):
    """Listens on while work is in flight, so that readiness can say no and new work hears 503."""

    def __init__(self, config: uvicorn.Config, application: FastAPI) -> None:
        super().__init__(config)
        self._application = application

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Before the models' folder is read: what changes after that is heard of.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        await super().startup(sockets)

    def _reload(self) -> None:
        if hasattr(self._application.state, "models"):
            self._application.state.models.reload()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.started:
            self._application.state.models.stop()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        grace_s = float(self.config.timeout_graceful_shutdown or 0)
        end = time.monotonic() + grace_s
        while (tasks := set(self.server_state.tasks)) and not self.force_exit and time.monotonic() < end:
            await asyncio.wait(tasks, timeout=TICK_S)
        self.config.timeout_graceful_shutdown = max(0, round(end - time.monotonic()))
        await super().shutdown(sockets)
        # All is closed. A model that still loads can't be stopped, and Python would wait for its thread.
        os._exit(0)


def run_server(settings: Settings) -> bool:
    """Serve until a signal comes; False where the server could not start, as with a port that is taken.

    Raises `ValueError` where the settings ask for API keys or traces, and there are none, or not their extra.
    """
    application = create_app(settings)
    config = uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
    )
    server = Server(config, application)
    server.run()
    return server.started

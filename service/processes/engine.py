"""The engine as a process: it loads the bundles, and runs the items of the API processes together."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress

import uvloop

from service.host.desk import Desk
from service.host.member import Member
from service.models.loaded import LoadedModels
from service.settings import Settings
from service.watch.logs import logger
from service.watch.metrics import Metrics
from service.watch.tracing import Tracing

LOOK_EVERY_S = 0.25
"""So often it is looked whether there is something to tell the API processes."""


def run_engine(settings: Settings, member: Member, listening: socket.socket) -> None:
    """Run models until a signal comes. Raises `ValueError` where tracing is on without its extra."""
    tracing = Tracing("stellar-engine") if settings.tracing else None
    uvloop.run(_run(settings, member, listening, Metrics(tracing)))
    if tracing is not None:
        tracing.close()
    logger.info("stopped")
    os._exit(0)  # a model that still loads can't be stopped, and Python would wait for its thread


async def _run(settings: Settings, member: Member, listening: socket.socket, metrics: Metrics) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    desk = Desk()
    models = LoadedModels(settings, metrics, desk)
    await desk.listen(listening)
    await member.join(metrics.registry, models.reload)
    member.up()
    while not stopping.is_set():
        await desk.show(models.edition(desk))
        desk.count()
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), LOOK_EVERY_S)
    await models.close()

"""A worker as a process: models loaded, metrics on a port of their own, signals heard.

SIGTERM ends it once it has finished what it took; while its models load, at once. SIGHUP does the same:
whatever watches over it starts it anew, with the bundles that are there then.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence

from service.fleet.port import Port
from service.fleet.worker import Worker
from service.runtime.bundle import BundleError, find_bundles, read_bundle
from service.runtime.engine import Engine
from service.runtime.progress import Progress
from service.runtime.providers import DeviceError
from service.settings import Settings
from service.watch.logs import logger
from service.watch.metrics import Metrics
from service.watch.tracing import Tracing

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_worker(settings: Settings, wanted: Sequence[str]) -> bool:
    """Work until a signal comes; False where the models can't be loaded or the metrics' port is taken.

    `wanted` names models; none means all. Raises `ValueError` where tracing is on without its extra.
    """
    tracing = Tracing("stellar-worker") if settings.tracing else None
    metrics = Metrics(tracing)
    progress = Progress()
    try:
        port = Port(settings.host, settings.metrics_port, metrics, progress)
    except OSError as error:
        logger.error("worker_failed", reason=str(error))
        return False
    try:
        asyncio.run(_work(settings, wanted, metrics, progress))
    except (BundleError, DeviceError) as error:
        logger.error("worker_failed", reason=str(error))
        return False
    finally:
        port.close()
        if tracing is not None:
            tracing.close()
    return True


def _engines(settings: Settings, wanted: Sequence[str], progress: Progress) -> list[Engine]:
    bundles = [read_bundle(folder) for folder in find_bundles(settings.models_dir)]
    known = {bundle.manifest.name for bundle in bundles} | {bundle.manifest.id for bundle in bundles}
    if unknown := sorted(set(wanted) - known):
        raise BundleError(
            f"no model {', '.join(unknown)} in {settings.models_dir}; there is {', '.join(sorted(known))}"
        )
    return [
        Engine(bundle, settings, progress.tell)
        for bundle in bundles
        if not wanted or {bundle.manifest.name, bundle.manifest.id} & set(wanted)
    ]


async def _work(settings: Settings, wanted: Sequence[str], metrics: Metrics, progress: Progress) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    for number in SIGNALS:
        loop.add_signal_handler(number, task.cancel)
    try:
        engines = await asyncio.to_thread(_engines, settings, wanted, progress)
    except asyncio.CancelledError:
        logger.info("stopped")
        os._exit(0)  # nothing was taken yet, and Python would wait for the thread that loads
    metrics.show_models([(engine.manifest, engine.provider) for engine in engines])
    progress.done()
    worker = Worker(settings, engines, metrics)
    for number in SIGNALS:
        loop.add_signal_handler(number, worker.stop)
    await asyncio.to_thread(worker.run)

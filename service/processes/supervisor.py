"""The supervisor: it starts the processes of a service, replaces those that die or hang, and ends with them.

It runs no model and answers no request. SIGTERM and SIGINT let all finish what they have, a second one ends
them at once; SIGHUP has the models' folder looked into. Processes whose supervisor is gone end by themselves.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import tempfile
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector

from service.host.port import BACKLOG, reserve
from service.http.auth import Keys
from service.processes.child import Child
from service.processes.shares import process_count, share, variables
from service.settings import Settings
from service.watch.logs import logger
from service.watch.summed import Summed
from service.watch.tracing import Tracing

AGAIN_S = 1.0
"""A process is started again at most once in so long."""
METRICS_EVERY_S = 1.0
"""What a process that dies has counted since then is lost."""
METRICS_S = 1.0
"""How long a process may take to tell its metrics: of one that is busy, those of before are taken."""
HUNG_S = 10.0
"""A process that tells nothing for so long, and for as long as a request may take, is ended."""
LAST_S = 3.0
"""What a process may take to end after the time that work in flight has."""
ENGINE = "engine"


def run_processes(settings: Settings) -> bool:
    """Serve by several processes until a signal comes; False where they could not start, as with a port that
    is taken, or no folder to meet in.

    Raises `ValueError` where the settings ask for API keys, traces or gRPC, and there are none, or not their
    extra.
    """
    Keys(settings)
    if settings.grpc_port is not None:
        from service.http.server import grpc_class  # brings the framework, which the supervisor does without

        grpc_class()
    if settings.tracing:
        Tracing(ENGINE).close()
    with ExitStack() as stack:
        try:
            settings = settings.model_copy(update=_ports(settings, stack))
        except OSError as error:
            logger.error("port_unavailable", reason=str(error))
            return False
        try:
            engine = stack.enter_context(_meeting_place(stack)) if settings.batcher == "local" else None
        except OSError as error:
            logger.error("folder_unavailable", reason=str(error))
            return False
        logger.info("listening", host=settings.host, port=settings.port, processes=process_count(settings))
        return asyncio.run(Supervisor(settings, engine).run())


def _ports(settings: Settings, stack: ExitStack) -> dict[str, int]:
    """The ports that all processes listen on, taken for them. Raises `OSError`."""
    asked = {"port": settings.port, "grpc_port": settings.grpc_port}
    taken: dict[str, int] = {}
    for name, port in asked.items():
        if port is not None:
            sockets = [stack.enter_context(each) for each in reserve(settings.host, port)]
            taken[name] = sockets[0].getsockname()[1]
    return taken


def _meeting_place(stack: ExitStack) -> socket.socket:
    """Where an engine is to listen, in a folder that nobody else may enter. Raises `OSError`."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stellar-"))
    engine = socket.socket(socket.AF_UNIX)
    engine.bind(str(Path(folder) / ENGINE))
    engine.listen(BACKLOG)
    return engine


class Supervisor:
    """The processes of one service."""

    def __init__(self, settings: Settings, engine: socket.socket | None) -> None:
        """`engine` is where the engine is to listen, which outlives it: who comes meanwhile waits there. None
        where workers run the models.
        """
        self._settings = settings
        self._engine = engine
        self._children: dict[str, Child] = {}
        self._stopping = asyncio.Event()
        self._failed = False
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._counted = Summed([])
        """What processes had counted that are gone."""

    async def run(self) -> bool:
        """Have the processes until a signal comes; whether they could start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        keeping = [asyncio.create_task(each) for each in self._keepers()]
        looking = asyncio.create_task(self._look())
        await self._stopping.wait()
        looking.cancel()
        apis = [child for name, child in self._children.items() if name != ENGINE]
        await self._end(apis)
        await self._end(list(self._children.values()))
        await asyncio.gather(*keeping)
        logger.info("stopped")
        return not self._failed

    def _keepers(self) -> Iterator[Coroutine[None, None, None]]:
        """What has the engine, where there is one, and the API processes."""
        count = process_count(self._settings)
        arguments: list[str] = []
        if self._engine is not None:
            arguments = ["--engine", self._engine.getsockname()]
            own = self._settings.model_copy(update={"cache_ttl_s": 0})
            yield self._keep(ENGINE, [], self._engine, own)
        for i in range(count):
            yield self._keep(f"api-{i}", arguments, None, share(self._settings, count))

    async def _keep(
        self, name: str, arguments: Sequence[str], listening: socket.socket | None, settings: Settings
    ) -> None:
        """Have a process until the end: another takes the place of one that dies."""
        was_up = False
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                was_up |= await self._run_child(name, arguments, listening, settings)
            except OSError as error:  # as where there are too many processes at the moment
                logger.error("start_failed", failed=name, reason=str(error))
            if self._stopping.is_set():
                return
            if not was_up:
                self._failed = True
                self._stopping.set()
                return
            with suppress(TimeoutError):
                wait_s = max(0.0, started + AGAIN_S - time.monotonic())
                await asyncio.wait_for(self._stopping.wait(), wait_s)

    async def _run_child(
        self, name: str, arguments: Sequence[str], listening: socket.socket | None, settings: Settings
    ) -> bool:
        """Have a process until it ends; whether it has served. Raises `OSError` where it can't be started."""
        child = self._children[name] = await Child.start(
            name,
            arguments,
            listening=listening,
            environment=variables(settings),
            all_metrics=self._metrics,
        )
        logger.info("process_started", started=name, pid=child.process.pid)
        if self._stopping.is_set():  # while it was being started
            child.send_signal(signal.SIGTERM)
        code = await child.ended()
        del self._children[name]
        self._counted = Summed.together([self._counted, child.metrics.counts()])
        if not self._stopping.is_set():
            logger.error("process_died", died=name, pid=child.process.pid, code=code)
        return child.is_up

    async def _end(self, children: Sequence[Child]) -> None:
        """Let processes finish what they have, and end those that don't."""
        for child in children:
            child.send_signal(signal.SIGTERM)
        ends = [asyncio.create_task(child.process.wait()) for child in children]
        if ends:
            _, late = await asyncio.wait(ends, timeout=self._settings.shutdown_grace_s + LAST_S)
            if late:
                self._kill()

    def _kill(self) -> None:
        for child in self._children.values():
            child.send_signal(signal.SIGKILL)

    def _stop(self) -> None:
        """The first signal lets all finish; the second ends them."""
        if self._stopping.is_set():
            self._kill()
        self._stopping.set()

    def _reload(self) -> None:
        for child in self._children.values():
            child.reload()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(METRICS_EVERY_S)
            await self._ask_metrics()
            for name, child in self._children.items():
                if child.silent_s > max(HUNG_S, self._settings.request_timeout_s):
                    logger.error("process_hung", hung=name, pid=child.process.pid)
                    child.send_signal(signal.SIGKILL)

    async def _ask_metrics(self) -> None:
        await asyncio.gather(*(child.ask_metrics(METRICS_S) for child in self._children.values()))

    async def _metrics(self) -> Summed:
        """The metrics of all processes, also of those that are gone."""
        await self._ask_metrics()
        told = [child.metrics for child in self._children.values()]
        return Summed.together([self._counted, Summed.of(self._registry), *told])

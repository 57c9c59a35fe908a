"""A fleet as its users have it: a real Redis, API processes and workers, each a process of its own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import redis

from tests.service.process import Process, pause
from tests.service.server import Server, value_of

START_TIMEOUT_S = 60
WORK = ("-m", "service.cli", "worker")
T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def wait_until(condition: Callable[[], T | None], timeout_s: float = START_TIMEOUT_S) -> T:
    """What the condition says once that is true."""
    began = time.monotonic()
    while not (met := condition()):
        assert time.monotonic() < began + timeout_s, "waited in vain"
        pause(began)
    return met


class RedisServer:
    """`redis-server`, or another that speaks as it does, without files."""

    def __init__(self, folder: Path, *options: str, program: str | None = None) -> None:
        self._program = program or shutil.which("redis-server")
        assert self._program, "the tests need redis-server 7 or newer: apt install redis-server"
        self.port = free_port()
        self.folder = folder
        self._options = options
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, protocol=2)
        self.start()

    def start(self) -> None:
        assert self._program
        self.process = subprocess.Popen(
            [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *self._options],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def _answers(self) -> bool:
        with suppress(redis.ConnectionError):
            return bool(self.client.ping())
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def names(self, pattern: str) -> list[str]:
        """Names that there are."""
        return [bytes(name).decode() for name in self.client.keys(pattern)]  # type: ignore[arg-type]

    def blocked(self, command: str) -> bool:
        """Whether a client waits in this command."""
        clients = self.client.client_list()
        return any(client["cmd"] == command and "b" in client["flags"] for client in clients)

    def dead_letter(self) -> dict[bytes, bytes]:
        """The only entry that was put aside."""
        entries: Any = self.client.xrange("stellar:2:dead")
        [(_, letter)] = entries
        return letter  # type: ignore[no-any-return]

    def memory(self) -> int:
        """Bytes of all keys; unlike the totals that Redis reports, without its clients' buffers."""
        return sum(self.client.memory_usage(name, samples=0) or 0 for name in self.names("*"))

    def close(self) -> None:
        self.client.close()
        self.kill()


class WorkerProcess(Process):
    """`stellar-service worker` in a process."""

    def __init__(
        self, log: Path, settings: dict[str, str], *arguments: str, command: tuple[str, ...] = WORK
    ) -> None:
        self.port = free_port()
        super().__init__(log, settings, *command, "--metrics-port", str(self.port), *arguments)

    @property
    def ready(self) -> bool:
        assert self.process.poll() is None, self.log
        return "worker_ready" in self.log

    def metric(self, line: str) -> float:
        """The value of a metric, written with its labels; 0 where it does not exist yet."""
        return value_of(line, httpx.get(f"http://127.0.0.1:{self.port}/metrics").text)


class Cluster:
    """One Redis and whatever else was started with it."""

    def __init__(
        self, folder: Path, models: Path, *redis_options: str, program: str | None = None, **settings: str
    ) -> None:
        self.folder = folder
        self.redis = RedisServer(folder, *redis_options, program=program)
        self.settings = {
            "STELLAR_BATCHER": "redis",
            "STELLAR_REDIS_URL": self.redis.url,
            "STELLAR_MODELS_DIR": str(models),
            "STELLAR_CLAIM_IDLE_MS": "600",
        } | {f"STELLAR_{name.upper()}": value for name, value in settings.items()}
        self.apis: list[Server] = []
        self.workers: list[WorkerProcess] = []
        self._expected: set[str] = set()

    def api(self, **settings: str) -> Server:
        """Start an API process; it may not be ready yet."""
        more = {f"STELLAR_{name.upper()}": value for name, value in settings.items()}
        server = Server(self.folder / f"api-{len(self.apis)}.log", self.settings | more)
        self.apis.append(server)
        return server

    def worker(self, *arguments: str, command: tuple[str, ...] = WORK, **settings: str) -> WorkerProcess:
        """Start a worker and wait until it takes items."""
        more = {f"STELLAR_{name.upper()}": value for name, value in settings.items()}
        log = self.folder / f"worker-{len(self.workers)}.log"
        worker = WorkerProcess(log, self.settings | more, *arguments, command=command)
        self.workers.append(worker)
        wait_until(lambda: worker.ready)
        return worker

    def ready(self, **settings: str) -> Server:
        """An API process that is ready."""
        server = self.api(**settings)
        server.wait_until(lambda: server.answers("/healthz/ready", 200))
        return server

    def holder(self) -> WorkerProcess | None:
        """The worker that has an item."""
        for worker in self.workers:
            for stream in self.streams() if worker.process.poll() is None else ():
                for consumer in self.redis.client.xinfo_consumers(stream, "workers"):
                    if consumer["pending"] and f"-{worker.process.pid}-" in consumer["name"].decode():
                        return worker
        return None

    def held(self) -> WorkerProcess:
        """Wait until a worker has an item."""
        return wait_until(self.holder)

    def streams(self) -> list[str]:
        names = [name for name in self.redis.names("stellar:2:*") if "@" in name]
        return [name for name in names if not name.endswith(":workers")]

    def consumers(self) -> int:
        """Consumers that Redis knows of, over all streams of requests."""
        return sum(len(self.redis.client.xinfo_consumers(stream, "workers")) for stream in self.streams())

    def entries(self) -> int:
        """Entries in all streams of requests."""
        return sum(self.redis.client.xlen(stream) for stream in self.streams())

    def close(self) -> None:
        for server in self.apis:
            server.client.close()
            server.kill()
        for worker in self.workers:
            worker.kill()
        self.redis.resume()
        self.redis.close()

    def expect(self, *events: str) -> None:
        """These errors belong to the test."""
        self._expected |= set(events)

    def check_logs(self) -> None:
        """Fail where a process tells, since the last check, of an error that the test did not expect."""
        expected, self._expected = self._expected, set()
        for process in (*self.apis, *self.workers):
            process.expect(*expected)
            process.check_log()


@contextmanager
def cluster_of(
    folder: Path, models: Path, *redis_options: str, program: str | None = None, **settings: str
) -> Iterator[Cluster]:
    """A cluster whose processes log no error but those that it is told of."""
    cluster = Cluster(folder, models, *redis_options, program=program, **settings)
    try:
        yield cluster
    finally:
        cluster.close()
    cluster.check_logs()

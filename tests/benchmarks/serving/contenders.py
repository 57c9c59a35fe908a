"""The servers that are compared: how each is started, and where it takes a picture."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Literal, NamedTuple

from tests.benchmarks.serving.encoder import BUNDLE, DEVICE, THREADS

if TYPE_CHECKING:
    from model.precision import Precision

BARE = "bare"
HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SERVICE = (sys.executable, "-m", "service.cli")
PEERS = Path(sys.prefix) / "peers"
"""Their virtual environments: `make benchmark-serving` installs them."""


class Place(NamedTuple):
    """What a server is to serve, and where."""

    bundle: Path
    device: str
    port: int
    second_port: int = 0
    """For a second API process."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A server: one command that listens on the loopback address until SIGTERM."""

    code: Path = ROOT
    """The folder with the `service` that it runs."""
    apis: int = 1
    """Processes that take pictures, on the place's ports."""
    command: Callable[[Place], list[str]]
    path: str = "/embed"
    environment: Callable[[Place], dict[str, str]]
    precision: Precision = "fp32"


@dataclass(frozen=True, kw_only=True)
class Bare:
    """A loop without a server, which takes what the load generator does and prints what that does."""

    command: Sequence[str]
    threads: int
    """Of its session; 0: as many as there are processors."""
    code: Path = ROOT


def environment(place: Place, threads: int = 0) -> dict[str, str]:
    """What the bare loop and the peers read, and what makes each listen and keep to itself."""
    return {
        BUNDLE: str(place.bundle.absolute()),
        DEVICE: place.device,
        THREADS: str(threads),
        "PORT": str(place.port),
        "MOSEC_ADDRESS": "127.0.0.1",
        "MOSEC_PORT": str(place.port),
        "MOSEC_TIMEOUT": "60000",
        "MOSEC_LOG_LEVEL": "warning",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # as all others have it
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        "BENTOML_DO_NOT_TRACK": "true",
    }


def module(name: str, python: Path = Path(sys.executable)) -> list[str]:
    """The command that runs a module of this package."""
    return [str(python), "-m", f"{__package__}.{name}"]


def _settings(place: Place) -> dict[str, str]:
    return {
        "STELLAR_MODELS_DIR": str(place.bundle.parent),
        "STELLAR_MODEL": place.bundle.name,
        "STELLAR_DEVICE": place.device,
        "STELLAR_PORT": str(place.port),
        "STELLAR_LOG_LEVEL": "warning",  # no server writes a line for each request
    }


def _redis_settings(place: Place) -> dict[str, str]:
    socket = f"{gettempdir()}/stellar-benchmark-{place.port}.sock"
    return _settings(place) | {
        "STELLAR_BATCHER": "redis",
        "STELLAR_REDIS_URL": f"unix://{socket}",
        "STELLAR_METRICS_PORT": "0",
        "REDIS_SOCKET": socket,
        "SECOND_PORT": str(place.second_port),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def _peer(name: str, path: str = "/embed") -> Contender:
    python = PEERS / name / "bin" / "python"
    return Contender(command=lambda _: module(f"peers.{name}", python), path=path, environment=environment)


def _bentoml(place: Place) -> list[str]:
    service = f"{__package__}.peers.bentoml:Embedding"
    return [
        *(str(PEERS / "bentoml" / "bin" / "python"), "-m", "bentoml", "serve", service),
        *("--host", "127.0.0.1", "--port", str(place.port)),
    ]


MEAN = "/embed?pooling=mean"
"""Of ours: what all others answer."""


def fleet(
    workers: int = 1,
    threads: int = 0,
    *,
    apis: Literal[1, 2] = 1,
    service: Sequence[str] = SERVICE,
    code: Path = ROOT,
) -> Contender:
    """API processes, Redis, and workers of so many threads; 0: as many as there are processors."""
    honcho = (sys.executable, "-m", "honcho", "start", "--app-root", ".", "--procfile")
    count = ("--concurrency", f"worker={workers}")
    names = ("redis", "worker", *("api", "second")[:apis])
    own = {"STELLAR_THREADS": str(threads), "SERVICE": shlex.join(service)}
    return Contender(
        command=lambda _: [*honcho, str(HERE / "redis.Procfile"), *count, *names],
        path=MEAN,
        environment=lambda place: _redis_settings(place) | own,
        code=code,
        apis=apis,
    )


def ours(
    precision: Precision = "fp32",
    *,
    processes: int = 1,
    service: Sequence[str] = SERVICE,
    code: Path = ROOT,
) -> Contender:
    """One process with everything in it, or several with an engine that they share."""
    command = [*service, "serve", *(("--processes", str(processes)) if processes > 1 else ())]
    return Contender(
        command=lambda _: command, path=MEAN, environment=_settings, precision=precision, code=code
    )


BARES = {
    BARE: Bare(command=module("bare"), threads=0),
    "bare-single": Bare(command=module("bare"), threads=1),
}
"""With one thread, each of as many threads as there are processors decodes and runs a picture after the
other."""

CONTENDERS = {
    "ours": ours(),
    "ours-int8": ours("int8"),
    "ours-redis": fleet(),
    "mosec": _peer("mosec", "/inference"),
    "fastapi": _peer("fastapi"),
    "fastapi-single": replace(_peer("fastapi"), environment=partial(environment, threads=1)),
    "litserve": _peer("litserve"),
    "bentoml": Contender(command=_bentoml, environment=environment),
    "ray": _peer("ray"),
    "triton": _peer("triton", "/v2/models/embed/infer"),
}
"""By name; the bare loops are no servers and stand beside them."""

FLEETS = {f"workers-{count}": fleet(count, threads=1) for count in (1, 2, 4, 8)}
"""How a fleet grows: workers of one thread each. They are measured when they are named."""

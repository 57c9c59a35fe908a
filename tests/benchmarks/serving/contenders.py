"""The servers that are compared: how each is started, and where it takes a picture."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

BARE = "bare"


class Place(NamedTuple):
    """What a server is to serve, and where."""

    bundle: Path
    device: str
    port: int


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A server: one command that listens on the loopback address until SIGTERM."""

    command: Callable[[Place], list[str]]
    path: str
    environment: Callable[[Place], dict[str, str]] = field(default=lambda _: {})


def _ours(place: Place) -> list[str]:
    flags = {
        "port": place.port,
        "models": place.bundle.parent,
        "model": place.bundle.name,
        "device": place.device,
    }
    return [sys.executable, "-m", "service.cli", "serve", *(f"--{k}={v}" for k, v in flags.items())]


def bare_command(bundle: Path, device: str) -> list[str]:
    """The bare loop's command, to which the picture and the load are added."""
    return [
        sys.executable,
        "-m",
        "tests.benchmarks.serving.bare",
        f"--bundle={bundle}",
        f"--device={device}",
    ]


CONTENDERS = {
    "ours": Contender(command=_ours, path="/embed"),
}
"""By name; the bare loop is no server and stands beside them."""

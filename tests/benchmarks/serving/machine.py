"""What a table of results must say of where it was made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from importlib.metadata import distributions, version
from pathlib import Path
from platform import machine, python_version

from service.runtime.resources import available_processors
from tests.benchmarks.serving.contenders import PEERS

SHARED = ("stellar-service", "onnxruntime", "onnxruntime-gpu", "pillow", "simplejpeg", "numpy", "uvicorn")
"""What may have a part in the figures of all; those that are installed are named."""


def describe_machine(servers: Sequence[str], device: str) -> str:
    """One sentence: processor, versions, date."""
    installed = {each.metadata["Name"].lower() for each in distributions()}
    versions = [f"{name} {version(name)}" for name in SHARED if name in installed]
    for server in servers:
        folders = [str(folder) for folder in (PEERS / server).glob("lib/python*/site-packages")]
        versions += [
            f"{server} {each.version}" for each in distributions(name=server, path=folders) if folders
        ]
    return (
        f"{_processor()}, {available_processors()} processors, device {device}, Python {python_version()}, "
        f"{', '.join(versions)}; {date.today()}."
    )


def _processor() -> str:
    """The processor's name, where Linux tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return machine()

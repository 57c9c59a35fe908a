"""The service's command line with the processor taken for a GPU: whole batches, decoded in the pool.

With a model that costs nothing this is a service whose GPU never lets it wait. It runs on its own, so that it
can start an older commit: it takes `service` from PYTHONPATH.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import service

PROCESSES = "service.processes"


def take_processor_for_gpu() -> None:
    """Make the engine, where this commit or an older one has it, see a provider that is no processor's."""
    older = Path(service.__file__).with_name("engine.py").exists()
    engine: Any = import_module("service.engine" if older else "service.runtime.engine")
    assert hasattr(engine, "CPU")
    engine.CPU = "none"


def start_alike() -> None:
    """Have the processes that the service starts take the processor for a GPU, too, where there are such."""
    if Path(service.__file__).with_name("processes").exists():
        child: Any = import_module("service.processes.child")
        child.COMMAND = (sys.executable, "-P", __file__, PROCESSES)


if __name__ == "__main__":
    take_processor_for_gpu()
    if sys.argv[1] == PROCESSES:
        del sys.argv[1]
        sys.exit(import_module(f"{PROCESSES}.__main__").main())
    start_alike()
    import_module("service.cli").app()

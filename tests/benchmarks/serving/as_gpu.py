"""The service's command line with the processor taken for a GPU: whole batches, decoded in the pool.

With a model that costs nothing this is a service whose GPU never lets it wait. It runs on its own, so that it
can start an older commit: it takes `service` from PYTHONPATH.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import service


def take_processor_for_gpu() -> None:
    """Make the engine, where this commit or an older one has it, see a provider that is no processor's."""
    older = Path(service.__file__).with_name("engine.py").exists()
    engine: Any = import_module("service.engine" if older else "service.runtime.engine")
    assert hasattr(engine, "CPU")
    engine.CPU = "none"


if __name__ == "__main__":
    take_processor_for_gpu()
    import_module("service.cli").app()

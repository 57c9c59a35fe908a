"""TensorRT: its libraries, what ONNX Runtime tells it, and where the engines that it builds are kept.

It builds an engine for one GPU, one version of itself and one graph, which takes minutes; a start that finds
one on disk takes seconds.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import onnxruntime as ort

LIBRARY = "libnvinfer.so.10"
"""What ONNX Runtime is linked with; TensorRT 11 has another."""


def load_libraries() -> str:
    """Load TensorRT where pip or the system has it; its version. Raises `OSError` where it is missing."""
    with suppress(ImportError):
        # NVIDIA's package loads all its libraries, also those that are opened by name to build engines.
        importlib.import_module("tensorrt_libs")
    number = int(ctypes.CDLL(LIBRARY).getInferLibVersion())
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


class EngineCache:
    """Folders for the engines of one bundle, by everything that an engine depends on."""

    def __init__(self, root: Path, *, model: str, max_batch: int, gpu: str, version: str) -> None:
        """`model` is name@version, which stands for the graphs and their precision."""
        made_by = f"onnxruntime-{ort.__version__}-tensorrt-{version}-{re.sub(r'[^A-Za-z0-9]+', '-', gpu)}"
        self._shared = root / made_by
        self._own = self._shared / f"{model}-batch-{max_batch}"
        self._max_batch = max_batch

    def folder(self, stage: str) -> Path:
        """Where a stage's engine lies, or will."""
        return self._own / stage

    def holds(self, stage: str) -> bool:
        """Whether the stage's engine has been built."""
        return any(self.folder(stage).glob("*.engine"))

    @contextmanager
    def locked(self, stage: str) -> Iterator[None]:
        """Keep other processes from building the same engine; they wait, and read it. Raises `OSError`."""
        folder = self.folder(stage)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def options(self, stage: str, inputs: Mapping[str, Sequence[int]]) -> dict[str, str]:
        """What the provider is told; `inputs` has the stage's inputs with their shapes without the batch.

        No precision is set: TensorRT then obeys the types of the graph. With shapes given for the batch from
        one to the largest the engine is built as the session opens, and never again while it serves.
        """
        smallest, largest = (
            ",".join(f"{name}:{'x'.join(map(str, (batch, *shape)))}" for name, shape in inputs.items())
            for batch in (1, self._max_batch)
        )
        return {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(self.folder(stage)),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(self._shared),
            "trt_profile_min_shapes": smallest,
            "trt_profile_opt_shapes": largest,
            "trt_profile_max_shapes": largest,
        }

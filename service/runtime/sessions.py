"""A bundle's graphs opened on a device, or on the next best one where that is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import onnxruntime as ort

from service.runtime.bundle import Manifest
from service.runtime.providers import (
    CPU,
    CUDA,
    PROVIDERS,
    TENSORRT,
    DeviceError,
    check_packages,
    find_gpu,
    find_tensorrt,
    open_session,
)
from service.runtime.resources import available_processors
from service.runtime.tensorrt import EngineCache
from service.settings import Settings
from service.watch.logs import logger

Sessions = dict[str, ort.InferenceSession]
Tell = Callable[[str], None]
"""Hears what a start is busy with."""


class Graph(NamedTuple):
    """A graph's file, and the shapes of its inputs without the batch."""

    path: Path
    inputs: Mapping[str, Sequence[int]]


def open_sessions(
    manifest: Manifest, graphs: Mapping[str, Graph], settings: Settings, tell: Tell
) -> Sessions:
    """A session for each graph on the settings' device; with a fallback on the next best, CUDA or the CPU.

    Raises `DeviceError` where the device is missing, and `BundleError` where a graph can't be loaded.
    """
    check_packages()
    kind, _, number = settings.device.partition(":")
    providers = PROVIDERS[kind]
    while True:
        try:
            return _open_on(providers, int(number or 0), manifest, graphs, settings, tell)
        except DeviceError as error:
            told = f"{providers[0]} can't be used: {error}"
            if not settings.allow_fallback:
                raise DeviceError(f"{told}; or allow the fallback (STELLAR_ALLOW_FALLBACK=true)") from error
            logger.warning("fallback", model=manifest.id, reason=told, to=providers[1])
            providers = providers[1:]


def _open_on(
    providers: Sequence[str],
    index: int,
    manifest: Manifest,
    graphs: Mapping[str, Graph],
    settings: Settings,
    tell: Tell,
) -> Sessions:
    """Sessions on the first of the providers, which gives what it can't run to the others."""
    told: dict[str, dict[str, str]] = {provider: {} for provider in providers}
    options = _options(thread_count(settings))
    if providers[0] == CPU:
        _register_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    gpu = "" if providers[0] == CPU else find_gpu(providers[0], index)
    if CUDA in told:
        # There are few sizes of batches, so what they need of memory need not grow by doubling.
        told[CUDA] = {"device_id": str(index), "arena_extend_strategy": "kSameAsRequested"}
    if providers[0] != TENSORRT:
        return {stage: open_session(graph.path, options, told) for stage, graph in graphs.items()}
    if manifest.precision == "int8":
        raise DeviceError(
            "an int8 bundle is one for CPUs: export another with stellar-model export --tensorrt"
        )
    cache = EngineCache(
        settings.engine_cache_dir.expanduser(),
        model=manifest.id,
        max_batch=settings.max_batch,
        gpu=gpu,
        version=find_tensorrt(),
    )
    sessions: Sessions = {}
    for stage, graph in graphs.items():
        told[TENSORRT] = {"device_id": str(index), **cache.options(stage, graph.inputs)}
        try:
            with cache.locked(stage):
                if not cache.holds(stage):
                    tell(f"{manifest.name}: TensorRT is building the engine to {stage}")
                    logger.info("building_engine", model=manifest.id, folder=str(cache.folder(stage)))
                sessions[stage] = open_session(graph.path, options, told)
        except OSError as error:
            raise DeviceError(
                f"engines are kept in {settings.engine_cache_dir}, which can't be written "
                f"(STELLAR_ENGINE_CACHE_DIR): {error}"
            ) from error
    return sessions


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


@cache
def _register_arena() -> None:
    """One arena for all sessions of the process: what one of them has let go of, another takes."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, None)


def thread_count(settings: Settings) -> int:
    """Threads that run images on processors."""
    return settings.threads or available_processors()

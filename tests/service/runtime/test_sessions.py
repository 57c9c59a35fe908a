"""What ONNX Runtime is asked for. No GPU is needed: where one would be, the test stands in its place."""

from __future__ import annotations

import fcntl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from service.runtime import sessions
from service.runtime.bundle import BundleError, Manifest, read_bundle
from service.runtime.providers import CPU, CUDA, TENSORRT, DeviceError, open_session
from service.runtime.sessions import Graph, open_sessions
from service.runtime.tensorrt import EngineCache
from service.settings import Settings

INPUTS: dict[str, dict[str, tuple[int, ...]]] = {
    "encode": {"image": (8, 8, 3)},
    "decode": {"semantics": (3, 4), "localization": (4, 3)},
}

Asked = Mapping[str, Mapping[str, str]]


@pytest.fixture
def manifest(toy_models: Path) -> Manifest:
    return read_bundle(toy_models / "toy").manifest


@pytest.fixture
def graphs(toy_models: Path) -> dict[str, Graph]:
    folder = toy_models / "toy"
    return {stage: Graph(folder / f"{stage}r.onnx", inputs) for stage, inputs in INPUTS.items()}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What would be asked of ONNX Runtime on a machine with two GPUs and TensorRT, one entry a session."""
    entries: list[Asked] = []

    def note(path: Path, options: Any, providers: Asked) -> None:
        entries.append({name: dict(told) for name, told in providers.items()})

    monkeypatch.setattr(sessions, "find_gpu", lambda provider, index: f"NVIDIA L{index}")
    monkeypatch.setattr(sessions, "find_tensorrt", lambda: "10.16.1")
    monkeypatch.setattr(sessions, "open_session", note)
    return entries


def settings(tmp_path: Path, **changes: Any) -> Settings:
    return Settings.model_validate({"engine_cache_dir": tmp_path / "engines", **changes})


def test_tensorrt_is_asked_for_with_profiles_caches_and_no_precision(
    manifest: Manifest, graphs: dict[str, Graph], asked: list[Asked], tmp_path: Path
) -> None:
    """The graph's own types count only as long as no precision is set."""
    told: list[str] = []
    open_sessions(manifest, graphs, settings(tmp_path, device="tensorrt:1", max_batch=6), told.append)
    encode, decode = asked
    assert list(encode) == [TENSORRT, CUDA, CPU]
    (made_by,) = (tmp_path / "engines").iterdir()
    assert made_by.name.endswith("-tensorrt-10.16.1-NVIDIA-L1")
    assert encode[TENSORRT] == {
        "device_id": "1",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(made_by / f"{manifest.id}-batch-6" / "encode"),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(made_by),
        "trt_profile_min_shapes": "image:1x8x8x3",
        "trt_profile_opt_shapes": "image:6x8x8x3",
        "trt_profile_max_shapes": "image:6x8x8x3",
    }
    assert decode[TENSORRT]["trt_profile_max_shapes"] == "semantics:6x3x4,localization:6x4x3"
    assert encode[CUDA] == {"device_id": "1", "arena_extend_strategy": "kSameAsRequested"}
    assert told == [f"toy: TensorRT is building the engine to {stage}" for stage in ("encode", "decode")]


def test_engines_on_disk_are_not_told_to_be_built(
    manifest: Manifest, graphs: dict[str, Graph], asked: list[Asked], tmp_path: Path
) -> None:
    told: list[str] = []
    open_sessions(manifest, graphs, settings(tmp_path, device="tensorrt"), told.append)
    for options in asked:
        Path(options[TENSORRT]["trt_engine_cache_path"], "graph_sm89.engine").write_bytes(b"")
    told.clear()
    open_sessions(manifest, graphs, settings(tmp_path, device="tensorrt"), told.append)
    assert told == []


def test_cuda_is_asked_for_without_tensorrt(
    manifest: Manifest, graphs: dict[str, Graph], asked: list[Asked], tmp_path: Path
) -> None:
    open_sessions(manifest, graphs, settings(tmp_path, device="cuda"), print)
    assert [list(entry) for entry in asked] == [[CUDA, CPU]] * 2
    assert asked[0][CUDA]["device_id"] == "0"


def test_without_tensorrt_the_fallback_is_cuda(
    manifest: Manifest,
    graphs: dict[str, Graph],
    asked: list[Asked],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> str:
        raise DeviceError("libnvinfer.so.10: no such file")

    monkeypatch.setattr(sessions, "find_tensorrt", missing)
    with pytest.raises(DeviceError, match=r"TensorrtExecutionProvider can't be used: libnvinfer.so.10"):
        open_sessions(manifest, graphs, settings(tmp_path, device="tensorrt:1"), print)
    assert asked == []
    open_sessions(manifest, graphs, settings(tmp_path, device="tensorrt:1", allow_fallback=True), print)
    assert [(list(entry), entry[CUDA]["device_id"]) for entry in asked] == [([CUDA, CPU], "1")] * 2


def test_int8_is_refused_on_tensorrt(
    manifest: Manifest, graphs: dict[str, Graph], asked: list[Asked], tmp_path: Path
) -> None:
    int8 = manifest.model_copy(update={"precision": "int8"})
    with pytest.raises(DeviceError, match=r"export another with stellar-model export --tensorrt"):
        open_sessions(int8, graphs, settings(tmp_path, device="tensorrt"), print)


def test_folder_that_cannot_be_written_is_told(
    manifest: Manifest, graphs: dict[str, Graph], asked: list[Asked], tmp_path: Path
) -> None:
    (tmp_path / "engines").write_text("a file")
    with pytest.raises(DeviceError, match=r"can't be written \(STELLAR_ENGINE_CACHE_DIR\)"):
        open_sessions(manifest, graphs, settings(tmp_path, device="tensorrt"), print)


def test_silent_fallback_of_onnx_runtime_is_an_error(graphs: dict[str, Graph]) -> None:
    """This is what happens for real: the session opens, on the CPU."""
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(DeviceError, match=r"libonnxruntime_providers_cuda.so: .*installed: onnxruntime"),
    ):
        open_session(graphs["encode"].path, None, {CUDA: {}, CPU: {}})


def test_graph_that_is_none_is_no_fault_of_the_device(tmp_path: Path) -> None:
    (tmp_path / "encoder.onnx").write_bytes(b"not a graph")
    with pytest.raises(BundleError, match=r"encoder.onnx can't be loaded"):
        open_session(tmp_path / "encoder.onnx", None, {CPU: {}})


@pytest.mark.parametrize(
    "other",
    [
        {"model": "toy@ba9876543210"},
        {"max_batch": 4},
        {"gpu": "NVIDIA B300"},
        {"version": "10.13.2"},
    ],
)
def test_engines_are_kept_apart_by_all_they_depend_on(tmp_path: Path, other: dict[str, Any]) -> None:
    key: dict[str, Any] = {
        "model": "toy@0123456789ab",
        "max_batch": 8,
        "gpu": "NVIDIA L4",
        "version": "10.16.1",
    }
    folders = {EngineCache(tmp_path, **each).folder("encode") for each in (key, key | other)}
    assert len(folders) == 2


def test_only_one_process_builds_an_engine(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, model="toy@0123456789ab", max_batch=8, gpu="NVIDIA L4", version="10.16.1")
    with cache.locked("encode"), (cache.folder("encode") / "lock").open() as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with cache.locked("decode"):
            pass
    with (cache.folder("encode") / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

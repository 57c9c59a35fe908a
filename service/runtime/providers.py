"""ONNX Runtime's providers: their order, whether they can run here, and what to install where they can't."""

from __future__ import annotations

import ctypes
import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnxruntime as ort

from service.runtime.bundle import BundleError
from service.runtime.gpu import DriverError, gpu_name
from service.runtime.tensorrt import load_libraries

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

# In order of preference; ONNX Runtime gives what one provider can't run to the next.
PROVIDERS: Mapping[str, list[str]] = {"cpu": [CPU], "cuda": [CUDA, CPU], "tensorrt": [TENSORRT, CUDA, CPU]}

SLOW_FUSIONS: Mapping[str, list[str]] = {CPU: ["BiasGeluFusion", "SkipLayerNormFusion"]}
"""ONNX Runtime's rewritings whose results a provider runs more slowly than what they replace."""

LIBRARIES = {CUDA: "libonnxruntime_providers_cuda.so", TENSORRT: "libonnxruntime_providers_tensorrt.so"}

INSTALL = "pip install 'stellar-service[gpu]' brings what belongs together"


class DeviceError(RuntimeError):
    """A device that can't be used here; the message says why and what to install."""


def check_packages() -> None:
    """Raise `DeviceError` where two builds of ONNX Runtime are installed: they overwrite each other."""
    builds = _installed("onnxruntime", "onnxruntime-gpu")
    if len(builds) > 1:
        raise DeviceError(
            f"{' and '.join(builds)} are both installed and overwrite each other: pip uninstall both, then "
            "install stellar-service with either the extra cpu or gpu"
        )


def find_gpu(provider: str, index: int) -> str:
    """The name of the GPU that a provider would run on, with the libraries that it needs loaded.

    Raises `DeviceError`.
    """
    if provider not in ort.get_available_providers():
        raise DeviceError(
            f"onnxruntime {ort.__version__} is a build without it: pip uninstall onnxruntime; {INSTALL}"
        )
    try:
        name = gpu_name(index, cuda=ort.cuda_version)
    except DriverError as error:
        raise DeviceError(str(error)) from error
    with redirect_stdout(io.StringIO()):  # it prints what it does not find, which is told below
        ort.preload_dlls()
    return name


def find_tensorrt() -> str:
    """TensorRT's version, with its libraries loaded. Raises `DeviceError`."""
    try:
        return load_libraries()
    except OSError as error:
        raise DeviceError(_told(error)) from error


def open_session(
    path: Path, options: ort.SessionOptions, providers: Mapping[str, Mapping[str, str]]
) -> ort.InferenceSession:
    """A session that runs on the first of the providers, which have their options beside them.

    Raises `DeviceError` where ONNX Runtime took another one, and `BundleError` where the graph is at fault.
    """
    wanted = next(iter(providers))
    try:
        session = ort.InferenceSession(
            path,
            options,
            providers=list(providers.items()),
            enable_fallback=0,
            disabled_optimizers=SLOW_FUSIONS.get(wanted),
        )
    except Exception as error:  # ONNX Runtime's own types are many and undocumented
        _check_library(wanted)
        raise BundleError(f"{path.parent.name}: {path.name} can't be loaded: {error}") from error
    if (active := session.get_providers()[0]) != wanted:  # it falls back without a word
        _check_library(wanted)
        raise DeviceError(f"ONNX Runtime took {active} instead, and its log says why")
    return session


def _check_library(provider: str) -> None:
    """Raise `DeviceError` where a provider's library lacks others; ONNX Runtime has tried it before."""
    if provider in LIBRARIES:
        try:
            ctypes.CDLL(str(Path(ort.__file__).parent / "capi" / LIBRARIES[provider]))
        except OSError as error:
            raise DeviceError(_told(error)) from error


def _told(error: OSError) -> str:
    there = _installed(
        "onnxruntime",
        "onnxruntime-gpu",
        "nvidia-cuda-runtime",
        "nvidia-cublas",
        "nvidia-cudnn-cu13",
        "tensorrt-cu13-libs",
    )
    return f"{error}; {INSTALL}; installed: {', '.join(there)}"


def _installed(*packages: str) -> list[str]:
    """Those of the packages that are installed, with their versions."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found

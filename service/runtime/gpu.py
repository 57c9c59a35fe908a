"""NVIDIA's driver, asked through its own library: which GPUs there are, and which CUDA it can run."""

from __future__ import annotations

import ctypes

LIBRARY = "libcuda.so.1"
NAME_BYTES = 256


class DriverError(RuntimeError):
    """A driver that is missing, too old or without the GPU; the message says what to do."""


def gpu_name(index: int, *, cuda: str) -> str:
    """The name of a GPU that programs built for this version of CUDA (as in 13.0) can run on.

    Raises `DriverError`.
    """
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise DriverError(
            f"there is no NVIDIA driver ({error}): install it; a container needs --gpus all and "
            "NVIDIA's container toolkit"
        ) from error
    _call(driver.cuInit, 0)
    version = ctypes.c_int()
    _call(driver.cuDriverGetVersion, ctypes.byref(version))
    major, minor = version.value // 1000, version.value % 1000 // 10
    if major < int(cuda.partition(".")[0]):
        raise DriverError(
            f"the NVIDIA driver runs CUDA up to {major}.{minor}, but {cuda} is needed: update it"
        )
    count = ctypes.c_int()
    _call(driver.cuDeviceGetCount, ctypes.byref(count))
    if index >= count.value:
        raise DriverError(f"there is no GPU {index}: the driver shows {count.value}, counted from 0")
    device = ctypes.c_int()
    _call(driver.cuDeviceGet, ctypes.byref(device), index)
    name = ctypes.create_string_buffer(NAME_BYTES)
    _call(driver.cuDeviceGetName, name, NAME_BYTES, device)
    return name.value.decode(errors="replace")


def _call(function: ctypes._NamedFuncPointer, *arguments: object) -> None:
    if code := function(*arguments):
        raise DriverError(f"the NVIDIA driver finds no usable GPU: {function.__name__} gives error {code}")

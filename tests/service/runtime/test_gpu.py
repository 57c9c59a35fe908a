"""NVIDIA's driver, whose place a library with the same functions takes: there may be none on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.runtime import gpu

DRIVER = """
#include <cstdlib>
#include <cstring>
static int number(const char* name) { return atoi(getenv(name)); }
extern "C" {
int cuInit(unsigned) { return number("FAKE_ERROR"); }
int cuDriverGetVersion(int* version) { *version = number("FAKE_VERSION"); return 0; }
int cuDeviceGetCount(int* count) { *count = number("FAKE_COUNT"); return 0; }
int cuDeviceGet(int* device, int index) { *device = index; return 0; }
int cuDeviceGetName(char* name, int size, int device) {
  strncpy(name, device ? "NVIDIA B300" : "NVIDIA L4", size);
  return 0;
}
}
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("driver")
    source = folder / "driver.cpp"
    source.write_text(DRIVER)
    subprocess.run(["g++", "-shared", "-fPIC", "-o", str(folder / gpu.LIBRARY), str(source)], check=True)
    return folder


def asked(driver: Path, index: int, *, error: int = 0, version: int = 13000, count: int = 2) -> str:
    """What a process with that driver answers: the GPU's name, or the error."""
    fake = {"FAKE_ERROR": str(error), "FAKE_VERSION": str(version), "FAKE_COUNT": str(count)}
    code = f"from service.runtime.gpu import gpu_name; print(gpu_name({index}, cuda='13.0'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | fake | {"LD_LIBRARY_PATH": str(driver)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_gpus_are_told_apart_by_name(driver: Path) -> None:
    assert asked(driver, 0) == "NVIDIA L4"
    assert asked(driver, 1, version=13020) == "NVIDIA B300"


def test_driver_that_is_too_old_is_told(driver: Path) -> None:
    assert "runs CUDA up to 12.8, but 13.0 is needed: update it" in asked(driver, 0, version=12080)


def test_gpu_that_is_not_there_is_told(driver: Path) -> None:
    assert "there is no GPU 2: the driver shows 2, counted from 0" in asked(driver, 2)


def test_error_of_the_driver_is_told(driver: Path) -> None:
    assert "finds no usable GPU: cuInit gives error 100" in asked(driver, 0, error=100)


def test_absent_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "LIBRARY", "libabsent.so.1")
    with pytest.raises(gpu.DriverError, match=r"no NVIDIA driver \(libabsent.so.1: .*--gpus all"):
        gpu.gpu_name(0, cuda="13.0")

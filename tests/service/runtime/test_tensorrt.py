"""TensorRT's libraries, whose place others take: NVIDIA's package is not to be had everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LOADING = """
import ctypes, pathlib
for library in pathlib.Path(__file__).parent.glob("*.so*"):
    ctypes.CDLL(str(library))
"""
ASKED = """
import ctypes
from service.runtime.tensorrt import load_libraries
print(load_libraries())
ctypes.CDLL("libnvinfer_builder_resource.so.10")
"""


def test_libraries_are_loaded_from_their_package_with_those_that_build_engines(tmp_path: Path) -> None:
    package = tmp_path / "tensorrt_libs"
    package.mkdir()
    (package / "__init__.py").write_text(LOADING)
    for name in ("libnvinfer.so.10", "libnvinfer_builder_resource.so.10"):
        code = 'extern "C" int getInferLibVersion() { return 101601; }'
        library = str(package / name)
        made = ["g++", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", library, "-x", "c++", "-"]
        subprocess.run(made, input=code, text=True, check=True)
    path = os.pathsep.join([str(tmp_path), str(Path.cwd())])
    done = subprocess.run(
        [sys.executable, "-c", ASKED],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("10.16.1", "")

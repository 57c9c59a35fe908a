"""Triton: processes that decode, one that runs batches, NVIDIA's server before them.

The server is the one that PyTriton brings, which has no other backend than Python's. A request is the bare
JPEG (a raw binary request of the v2 protocol); the answer has a head in JSON before the numbers.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir
from typing import Any

import numpy as np

from tests.benchmarks.serving.encoder import Decoder, Encoder

MODEL = """\
import sys

sys.path += {path}

from tests.benchmarks.serving.peers.triton import {model} as TritonPythonModel
"""
DECODE = """\
backend: "python"
max_batch_size: {max_batch}
input [{{ name: "jpeg" data_type: TYPE_STRING dims: [1] }}]
output [{{ name: "pixels" data_type: TYPE_UINT8 dims: [{side}, {side}, 3] }}]
instance_group [{{ count: {decode_threads} kind: KIND_CPU }}]
"""
ENCODE = """\
backend: "python"
max_batch_size: {max_batch}
dynamic_batching {{ }}
input [{{ name: "pixels" data_type: TYPE_UINT8 dims: [{side}, {side}, 3] }}]
output [{{ name: "vector" data_type: TYPE_FP32 dims: [{width}] }}]
instance_group [{{ count: 1 kind: KIND_CPU }}]
"""
EMBED = """\
platform: "ensemble"
max_batch_size: {max_batch}
input [{{ name: "jpeg" data_type: TYPE_STRING dims: [1] }}]
output [{{ name: "vector" data_type: TYPE_FP32 dims: [{width}] }}]
ensemble_scheduling {{ step [
  {{ model_name: "decode" model_version: -1
    input_map {{ key: "jpeg" value: "jpeg" }} output_map {{ key: "pixels" value: "pixels" }} }},
  {{ model_name: "encode" model_version: -1
    input_map {{ key: "pixels" value: "pixels" }} output_map {{ key: "vector" value: "vector" }} }}
] }}
"""


class Decode:
    """A model of Triton's: JPEGs (B, 1) to pixels (B, S, S, 3)."""

    def initialize(self, _: dict[str, str]) -> None:
        self._decoder = Decoder.from_environment()

    def execute(self, requests: list[Any]) -> list[Any]:
        """One answer for each request, of whatever size."""
        return [_answer("pixels", np.stack([*map(self._decoder.decode, _jpegs(each))])) for each in requests]


class Encode:
    """A model of Triton's: pixels (B, S, S, 3) to vectors (B, D)."""

    def initialize(self, _: dict[str, str]) -> None:
        self._encoder = Encoder.from_environment()

    def execute(self, requests: list[Any]) -> list[Any]:
        """All requests as one batch."""
        pixels = [_input(request, "pixels") for request in requests]
        vectors = self._encoder.run(np.concatenate(pixels))
        ends = np.cumsum([len(each) for each in pixels])[:-1]
        return [_answer("vector", part) for part in np.split(vectors, ends)]


def _input(request: Any, name: str) -> Any:
    import triton_python_backend_utils as triton  # type: ignore[import-not-found]  # is there within Triton alone

    return triton.get_input_tensor_by_name(request, name).as_numpy()


def _jpegs(request: Any) -> list[bytes]:
    return list(_input(request, "jpeg").ravel())


def _answer(name: str, array: np.ndarray[Any, Any]) -> Any:
    import triton_python_backend_utils as triton

    return triton.InferenceResponse([triton.Tensor(name, array)])


def main() -> None:
    decoder = Decoder.from_environment()
    values = {
        "side": decoder.size[0],
        "width": decoder.manifest.width,
        "max_batch": decoder.settings.max_batch,
        "decode_threads": decoder.settings.decode_threads,
    }
    folder = Path(gettempdir()) / f"stellar-benchmark-triton-{os.environ['PORT']}"
    rmtree(folder, ignore_errors=True)
    models, backends = folder / "models", folder / "backends"
    for name, config, model in (
        ("decode", DECODE, "Decode"),
        ("encode", ENCODE, "Encode"),
        ("embed", EMBED, ""),
    ):
        version = models / name / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(config.format(**values))
        if model:
            (version / "model.py").write_text(MODEL.format(model=model, path=sys.path))
    spec = find_spec("pytriton")
    assert spec is not None
    assert spec.origin is not None
    home = Path(spec.origin).parent / "tritonserver"
    stubs = home / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = stubs / "triton_python_backend_stub"
    (backends / "python").mkdir(parents=True)
    for file in [*(home / "backends" / "python").iterdir(), stub]:
        (backends / "python" / file.name).symlink_to(file)
    arguments = {
        "model-repository": models,
        "backend-directory": backends,
        "http-address": "127.0.0.1",
        "http-port": os.environ["PORT"],
        "allow-grpc": "false",
        "allow-metrics": "false",
        "log-info": "false",
    }
    server = str(home / "bin" / "tritonserver")
    os.execv(server, [server, *(f"--{name}={value}" for name, value in arguments.items())])


if __name__ == "__main__":
    main()

"""A bundle's encoder in bfloat16, which ONNX Runtime's own CPU provider can't run: `make benchmark-bf16`.

OpenVINO reads the same fp32 graph, and computes in bfloat16 where the processor has products for it (AMX,
AVX512-BF16). One picture on one thread, by processor time; ways take turns, and the fastest run counts.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import openvino
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file

ROUNDS = 20
Arrays = list[NDArray[np.float32]]
Way = Callable[[NDArray[np.uint8]], Arrays]


def ways(graph: Path) -> dict[str, Way]:
    """What encodes a batch of pictures, by name."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    found: dict[str, Way] = {"ONNX Runtime, fp32": lambda image: session.run(None, {"image": image})}
    core = openvino.Core()
    model = core.read_model(graph)
    for name, precision in (("OpenVINO, fp32", "f32"), ("OpenVINO, bf16", "bf16")):
        told = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
        found[name] = _by_openvino(core.compile_model(model, "CPU", told))
    return found


def _by_openvino(compiled: Any) -> Way:
    return lambda image: [*compiled(image).values()]


def least_cosine(got: Arrays, wanted: Arrays) -> float:
    """The least cosine of a picture's output with the model's own."""
    cosines = []
    for ours, theirs in zip(got, wanted, strict=True):
        a, b = (array.reshape(len(array), -1).astype(np.float64) for array in (ours, theirs))
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosines.append(float(((a * b).sum(axis=1) / norms).min()))
    return min(cosines)


def main(bundle: Path) -> None:
    """Measure and print."""
    least = json.loads((bundle / "bundle.json").read_text())["limits"]["cosine_min"]
    reference = load_file(bundle / "reference.safetensors")
    wanted = [reference[name] for name in ("semantics", "localization", "cls")]
    encoders = ways(bundle / "encoder.onnx")
    fastest = dict.fromkeys(encoders, float("inf"))
    for _ in range(ROUNDS):
        for name, encode in encoders.items():
            began = time.process_time()
            encode(reference["image"][:1])
            fastest[name] = min(fastest[name], time.process_time() - began)
    table = Table("encoder", "ms a picture", f"least cosine (at least {least:g})")
    for name, encode in encoders.items():
        cosine = least_cosine(encode(reference["image"]), wanted)
        table.add_row(name, f"{1000 * fastest[name]:.1f}", f"{cosine:.5f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

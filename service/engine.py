"""ONNX Runtime: one session for each stage of a bundle, on the provider that was asked for.

B batch · H, W pixels · N patches · r sparse tokens · D width
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.bundle import Bundle, BundleError, Manifest

Stage = Literal["encode", "decode"]
STAGES: tuple[Stage, ...] = ("encode", "decode")
Arrays = dict[str, NDArray[np.generic]]

GRAPH: Mapping[Stage, str] = {"encode": "encoder.onnx", "decode": "decoder.onnx"}

# In order of preference; ONNX Runtime gives what one provider can't run to the next.
PROVIDERS: Mapping[str, list[str]] = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}


class Engine:
    """A bundle's two sessions; `run` takes any batch up to `max_batch`."""

    def __init__(
        self, bundle: Bundle, *, device: str, allow_fallback: bool, threads: int, max_batch: int
    ) -> None:
        """Load, check against the manifest and warm up; `device` is such as `cpu`, `cuda` or `tensorrt:1`.

        Raises `BundleError` where the graphs are not what the manifest says, or the provider is missing.
        """
        self.manifest = bundle.manifest
        self.buckets = batch_buckets(max_batch)
        self._sessions: dict[Stage, ort.InferenceSession] = {
            stage: _session(bundle.folder / graph, device, allow_fallback, threads)
            for stage, graph in GRAPH.items()
        }
        self.provider: str = self._sessions["encode"].get_providers()[0]
        self._warm_up()

    def run(self, stage: Stage, arrays: Arrays) -> Arrays:
        """Run a batch; arrays have the batch as their first axis.

        The batch is padded to the next bucket, so that the memory arenas see few shapes.
        """
        session = self._sessions[stage]
        size = len(next(iter(arrays.values())))
        bucket = next(bucket for bucket in self.buckets if bucket >= size)
        padded = {name: _padded(array, bucket) for name, array in arrays.items()}
        names = [output.name for output in session.get_outputs()]
        return {name: out[:size] for name, out in zip(names, session.run(names, padded), strict=True)}

    def _warm_up(self) -> None:
        manifest = self.manifest
        tokens = (manifest.num_sparse_tokens, manifest.width)
        maps = (manifest.num_patches, manifest.num_sparse_tokens)
        side = manifest.image_size
        for bucket in self.buckets:
            image = np.zeros((bucket, side, side, 3), np.uint8)
            encoded = self._checked("encode", {"image": image})
            for name, shape in (("semantics", tokens), ("localization", maps), ("cls", (manifest.width,))):
                _expect(manifest, name, encoded, (bucket, *shape), np.float32)
            drawn = self._checked("decode", {name: encoded[name] for name in ("semantics", "localization")})
            height, width = drawn["image"].shape[1:3] if "image" in drawn else (0, 0)
            _expect(manifest, "image", drawn, (bucket, height, width, 3), np.uint8)

    def _checked(self, stage: Stage, arrays: Arrays) -> Arrays:
        session = self._sessions[stage]
        inputs = {item.name for item in session.get_inputs()}
        if inputs != set(arrays):
            raise BundleError(
                f"{self.manifest.name}: {GRAPH[stage]}: "
                f"expected inputs {sorted(arrays)}, got {sorted(inputs)}"
            )
        try:
            return self.run(stage, arrays)
        except Exception as error:  # whatever ONNX Runtime raises, the bundle is not fit to serve
            raise BundleError(f"{self.manifest.name}: {GRAPH[stage]} does not run: {error}") from error


def batch_buckets(max_batch: int) -> list[int]:
    """The batch sizes that are run: powers of two, and the largest."""
    return [size for size in (2**i for i in range(9)) if size < max_batch] + [max_batch]


def available_processors() -> int:
    """Processors that this process may use: its affinity, and its control group's quota."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(allowed, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no control groups, or no quota ("max")
        return allowed


def _session(path: Path, device: str, allow_fallback: bool, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or available_processors()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    kind, _, index = device.partition(":")
    wanted = PROVIDERS[kind]
    usable = [
        name if name == "CPUExecutionProvider" else (name, {"device_id": index or "0"})
        for name in wanted
        if name in ort.get_available_providers()
    ]
    try:
        session = ort.InferenceSession(path, options, providers=usable)
    except Exception as error:  # ONNX Runtime's own types are many and undocumented
        raise BundleError(f"{path.parent.name}: {path.name} can't be loaded: {error}") from error
    active = session.get_providers()[0]
    # ONNX Runtime falls back without a word.
    if active != wanted[0] and not allow_fallback:
        raise BundleError(
            f"{path.parent.name}: asked for {wanted[0]}, got {active}: install its libraries and driver, "
            "or allow the fallback (STELLAR_ALLOW_FALLBACK=true)"
        )
    if not allow_fallback:
        session.disable_fallback()  # or a run that fails there would be tried again on the CPU
    return session


def _padded(array: NDArray[np.generic], size: int) -> NDArray[np.generic]:
    if len(array) == size:
        return array
    return np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])


def _expect(
    manifest: Manifest, name: str, arrays: Arrays, shape: tuple[int, ...], dtype: type[np.generic]
) -> None:
    got = arrays.get(name)
    if got is None or got.shape != shape or got.dtype != dtype:
        told = "nothing" if got is None else f"{got.dtype} {list(got.shape)}"
        raise BundleError(
            f"{manifest.name}: output {name}: expected {np.dtype(dtype)} {list(shape)}, got {told}"
        )

"""ONNX Runtime: one session for each stage of a bundle, on the provider that was asked for.

B batch · H, W pixels · N patches · r sparse tokens · D width
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.bundle import Bundle, BundleError
from service.logs import logger
from service.providers import CPU
from service.reference import ENCODED, Deviation, Reference, deviation, expect
from service.sessions import Graph, Tell, open_sessions
from service.settings import Settings

Stage = Literal["encode", "decode"]
STAGES: tuple[Stage, ...] = ("encode", "decode")
Arrays = dict[str, NDArray[np.generic]]

GRAPH: Mapping[Stage, str] = {"encode": "encoder.onnx", "decode": "decoder.onnx"}
INPUTS: Mapping[Stage, tuple[str, ...]] = {"encode": ("image",), "decode": ("semantics", "localization")}
OUTPUTS: Mapping[Stage, tuple[str, ...]] = {"encode": ENCODED, "decode": ("image",)}

CPU_BATCHES = 2
"""Batches at a time on a processor: while the threads of one wait for each other, the other's go on."""


class Engine:
    """A bundle's two sessions; `run` takes any batch up to `max_batch`."""

    def __init__(self, bundle: Bundle, settings: Settings, tell: Tell) -> None:
        """Load on the settings' device, warm up, and compare with the model's own results there.

        Raises `BundleError` where the graphs are not what the manifest says, or deviate from the model on
        this device, and `DeviceError` where the device is missing.
        """
        self.manifest = bundle.manifest
        tell(f"{self.manifest.name} is loading")
        self.buckets = batch_buckets(settings.max_batch)
        reference = Reference(bundle)
        example = reference.repeated(1)
        graphs: dict[str, Graph] = {
            stage: Graph(
                bundle.folder / GRAPH[stage], {name: example[name].shape[1:] for name in INPUTS[stage]}
            )
            for stage in STAGES
        }
        self._sessions = open_sessions(self.manifest, graphs, settings, tell)
        self.provider: str = self._sessions["encode"].get_providers()[0]
        self.concurrency = CPU_BATCHES if self.provider == CPU else 1
        """How many batches at a time are worth running."""
        measured = self._warm_up(reference)
        logger.info(
            "model_ready",
            model=self.manifest.id,
            provider=self.provider,
            precision=self.manifest.precision,
            **measured._asdict(),
        )

    def run(self, stage: Stage, arrays: Arrays) -> Arrays:
        """Run a batch; arrays have the batch as their first axis.

        On a GPU it is padded to the next bucket: kernels and memory are kept for few shapes there. A
        processor takes any size, and would pay for the padding.
        """
        session = self._sessions[stage]
        size = len(next(iter(arrays.values())))
        if self.provider != CPU:
            bucket = next(bucket for bucket in self.buckets if bucket >= size)
            arrays = {name: _padded(array, bucket) for name, array in arrays.items()}
        names = [output.name for output in session.get_outputs()]
        return {name: out[:size] for name, out in zip(names, session.run(names, arrays), strict=True)}

    def _warm_up(self, reference: Reference) -> Deviation:
        """Run the reference in every bucket; the largest deviations from it."""
        measured = [self._compare(reference.repeated(size)) for size in self.buckets]
        cosine = min(each.cosine_min for each in measured)
        levels = max(each.image_mean_levels for each in measured)
        limits = self.manifest.limits
        if cosine < limits.cosine_min or levels > limits.image_mean_levels:
            raise BundleError(
                f"{self.manifest.name}: {self.provider} deviates from the model: expected a cosine "
                f"of at least {limits.cosine_min:g} and at most {limits.image_mean_levels:g} levels, "
                f"got {cosine:.4f} and {levels:.1f}: use another device or precision"
            )
        return Deviation(cosine, levels)

    def _compare(self, want: Arrays) -> Deviation:
        encoded = self._checked("encode", {name: want[name] for name in INPUTS["encode"]})
        drawn = self._checked("decode", {name: want[name] for name in INPUTS["decode"]})
        got = {**encoded, "drawn": drawn["image"]}
        for name, array in got.items():
            expect(f"{self.manifest.name}: output {name}", array, want[name].shape, want[name].dtype)
        return deviation(got, want)

    def _checked(self, stage: Stage, arrays: Arrays) -> Arrays:
        session = self._sessions[stage]
        for kind, want, items in (
            ("inputs", INPUTS[stage], session.get_inputs()),
            ("outputs", OUTPUTS[stage], session.get_outputs()),
        ):
            if (got := sorted(item.name for item in items)) != sorted(want):
                raise BundleError(
                    f"{self.manifest.name}: {GRAPH[stage]}: expected {kind} {sorted(want)}, got {got}"
                )
        try:
            return self.run(stage, arrays)
        except Exception as error:  # whatever ONNX Runtime raises, the bundle is not fit to serve
            raise BundleError(f"{self.manifest.name}: {GRAPH[stage]} does not run: {error}") from error


def batch_buckets(max_batch: int) -> list[int]:
    """The batch sizes that are warmed up: powers of two, and the largest."""
    return [size for size in (2**i for i in range(9)) if size < max_batch] + [max_batch]


def _padded(array: NDArray[np.generic], size: int) -> NDArray[np.generic]:
    if len(array) == size:
        return array
    return np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])

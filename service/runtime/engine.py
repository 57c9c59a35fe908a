"""ONNX Runtime: one session for each stage of a bundle, on the provider that was asked for.

B batch · H, W pixels · N patches · r sparse tokens · D width
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.runtime.bundle import Bundle, BundleError
from service.runtime.providers import CPU
from service.runtime.reference import ENCODED, Deviation, Reference, deviation, expect
from service.runtime.sessions import Graph, Sessions, Tell, open_sessions, thread_count
from service.runtime.statistics import read_statistics
from service.settings import Settings
from service.tokens.choices import Pooling
from service.tokens.pooling import mean_of
from service.watch.logs import logger

Stage = Literal["encode", "decode"]
STAGES: tuple[Stage, ...] = ("encode", "decode")
Arrays = dict[str, NDArray[np.generic]]

GRAPH: Mapping[Stage, str] = {"encode": "encoder.onnx", "decode": "decoder.onnx"}
INPUTS: Mapping[Stage, tuple[str, ...]] = {"encode": ("image",), "decode": ("semantics", "localization")}
OUTPUTS: Mapping[Stage, tuple[str, ...]] = {"encode": ENCODED, "decode": ("image",)}
MEAN, CONCEPTS, WHITENED = "mean", "concepts", "whitened"
MADE_OF: Mapping[str, tuple[str, ...]] = {MEAN: ("semantics",), CONCEPTS: ("semantics",), WHITENED: ENCODED}
"""What `encode` gives beside its graph's outputs, and of which of them; the last two where the bundle has
statistics.
"""
VECTORS: Mapping[Pooling, str] = {
    "mean": MEAN,
    "cls": "cls",
    "tokens": "semantics",
    "whitened": WHITENED,
    "concepts": CONCEPTS,
}
"""The output of `encode` that is an image's vector, or vectors."""


class Engine:
    """A bundle's two stages; `run` takes any batch, and may be called by several threads at a time.

    A GPU is best at one large batch. A processor is best at single images, as many at a time as it has
    threads, each on one of them: threads that share an image wait for each other, and a batch leaves the
    cache. They share where there are fewer images than threads.
    """

    def __init__(self, bundle: Bundle, settings: Settings, tell: Tell) -> None:
        """Load on the settings' device, warm up, and compare with the model's own results there.

        Raises `BundleError` where the graphs are not what the manifest says, or deviate from the model on
        this device, and `DeviceError` where the device is missing.
        """
        self.manifest = bundle.manifest
        tell(f"{self.manifest.name} is loading")
        self._statistics = read_statistics(bundle)
        reference = Reference(bundle)
        example = reference.batches(1)[0]
        graphs: dict[str, Graph] = {
            stage: Graph(
                bundle.folder / GRAPH[stage], {name: example[name].shape[1:] for name in INPUTS[stage]}
            )
            for stage in STAGES
        }
        self._sharing = self._apart = open_sessions(self.manifest, graphs, settings, tell)
        self.provider: str = self._sharing["encode"].get_providers()[0]
        self.single = self.provider == CPU
        """Whether single images, as many at a time as there are threads, are better than batches."""
        self.max_batch, self.concurrency = settings.max_batch, 1
        """What is worth running: the largest batch, and how many of them at a time."""
        if self.single:
            self.max_batch, self.concurrency = 1, thread_count(settings)
            if self.concurrency > 1:
                one = settings.model_copy(update={"device": "cpu", "threads": 1})
                self._apart = open_sessions(self.manifest, graphs, one, tell)
        self.buckets = batch_buckets(self.max_batch)
        measured = self._warm_up(reference)
        logger.info(
            "model_ready",
            model=self.manifest.id,
            provider=self.provider,
            precision=self.manifest.precision,
            **measured._asdict(),
        )

    def run(
        self, stage: Stage, arrays: Arrays, outputs: Sequence[str] = (), *, crowded: bool = False
    ) -> Arrays:
        """Run a batch; arrays have the batch as their first axis.

        `outputs` names those that must be there; none stands for all that the graph has. `crowded` tells a
        processor that there is other work for its other threads. On a GPU the batch is padded to the next
        bucket: kernels and memory are kept for few shapes there. A processor takes any size, and would pay
        for the padding.
        """
        return self._run(self._apart if crowded else self._sharing, stage, arrays, outputs)

    def _run(self, sessions: Sessions, stage: Stage, arrays: Arrays, outputs: Sequence[str] = ()) -> Arrays:
        size = len(next(iter(arrays.values())))
        if self.provider != CPU:
            bucket = next(bucket for bucket in self.buckets if bucket >= size)
            arrays = {name: _padded(array, bucket) for name, array in arrays.items()}
        wanted = {each for name in outputs for each in MADE_OF.get(name, (name,))} or OUTPUTS[stage]
        names = [name for name in OUTPUTS[stage] if name in wanted]
        fetched = sessions[stage].run(names, arrays)
        out: Arrays = {name: array[:size] for name, array in zip(names, fetched, strict=True)}
        return out | {name: self._made(name, out) for name in outputs if name in MADE_OF}

    def _made(self, name: str, out: Arrays) -> NDArray[np.generic]:
        """A batch of what is made of the graph's outputs, each image's by itself: so it has the same bits
        whatever company it had.
        """
        if name == MEAN:
            return mean_of(out["semantics"])  # type: ignore[arg-type]
        assert self._statistics is not None, f"{self.manifest.id} has no statistics for {name}"
        if name == CONCEPTS:
            return self._statistics.concepts(out["semantics"])  # type: ignore[arg-type]
        images = zip(*(out[each] for each in ENCODED), strict=True)
        return np.stack([self._statistics.whitened(*image) for image in images])

    def _warm_up(self, reference: Reference) -> Deviation:
        """Run the reference in every bucket; the largest deviations from it."""
        kinds = [self._sharing] if self._apart is self._sharing else [self._sharing, self._apart]
        measured = [
            self._compare(sessions, batch)
            for sessions in kinds
            for size in self.buckets
            for batch in reference.batches(size)
        ]
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

    def _compare(self, sessions: Sessions, want: Arrays) -> Deviation:
        encoded, drawn = (
            self._checked(sessions, stage, {name: want[name] for name in INPUTS[stage]}) for stage in STAGES
        )
        got = {**encoded, "drawn": drawn["image"]}
        for name, array in got.items():
            expect(f"{self.manifest.name}: output {name}", array, want[name].shape, want[name].dtype)
        return deviation(got, want)

    def _checked(self, sessions: Sessions, stage: Stage, arrays: Arrays) -> Arrays:
        for kind, want, items in (
            ("inputs", INPUTS[stage], sessions[stage].get_inputs()),
            ("outputs", OUTPUTS[stage], sessions[stage].get_outputs()),
        ):
            if (got := sorted(item.name for item in items)) != sorted(want):
                raise BundleError(
                    f"{self.manifest.name}: {GRAPH[stage]}: expected {kind} {sorted(want)}, got {got}"
                )
        try:
            return self._run(sessions, stage, arrays)
        except Exception as error:  # whatever ONNX Runtime raises, the bundle is not fit to serve
            raise BundleError(f"{self.manifest.name}: {GRAPH[stage]} does not run: {error}") from error


def batch_buckets(max_batch: int) -> list[int]:
    """The batch sizes that are warmed up: powers of two, and the largest."""
    return [size for size in (2**i for i in range(9)) if size < max_batch] + [max_batch]


def _padded(array: NDArray[np.generic], size: int) -> NDArray[np.generic]:
    if len(array) == size:
        return array
    return np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])

"""The encoder by hand: the service's decoder and its session, without the service around them.

The bare loop and the peers use it, so that all servers differ in nothing but what is between.
B batch · S the model's side · D width
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.runtime.bundle import read_bundle
from service.runtime.sessions import Graph, open_sessions
from service.settings import Settings, read_settings
from service.tokens.pictures import decode_image

BUNDLE, DEVICE, THREADS = "BENCHMARK_BUNDLE", "BENCHMARK_DEVICE", "BENCHMARK_THREADS"
"""Variables of the environment: the bundle's folder, what it runs on, and with how many threads."""


class Decoder:
    """JPEGs to what one bundle's encoder takes."""

    def __init__(self, bundle: Path, settings: Settings) -> None:
        self.settings = settings
        self.manifest = read_bundle(bundle).manifest
        self.size = self.manifest.size

    @staticmethod
    def settings_of_environment() -> Settings:
        """The service's settings, on the device and with the threads that the environment names."""
        return read_settings(device=os.environ[DEVICE], threads=int(os.environ[THREADS]))

    @classmethod
    def from_environment(cls) -> Self:
        """The one for the bundle that the environment names."""
        return cls(Path(os.environ[BUNDLE]), cls.settings_of_environment())

    def decode(self, jpeg: bytes) -> NDArray[np.uint8]:
        """Pixels (H, W, 3)."""
        return decode_image(jpeg, self.size, "crop", self.settings.max_image_pixels).pixels


class Encoder(Decoder):
    """Of one bundle, with the service's own settings for threads and batches; warm in every size."""

    def __init__(self, bundle: Path, settings: Settings) -> None:
        super().__init__(bundle, settings)
        graphs = {"encode": Graph(bundle / "encoder.onnx", {"image": (*self.size, 3)})}
        self._session = open_sessions(self.manifest, graphs, settings, tell=lambda _: None)["encode"]
        for size in range(1, settings.max_batch + 1):
            self.run([np.zeros((*self.size, 3), np.uint8)] * size)

    def run(self, pixels: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors (B, D): the mean of each picture's tokens."""
        [semantics] = self._session.run(["semantics"], {"image": np.asarray(pixels)})
        vectors: NDArray[np.float32] = semantics.mean(axis=1)
        return vectors

"""The encoder by hand: the service's decoder and its session, without the service around them.

The bare loop and the peers use it, so that all servers differ in nothing but what is between.
B batch · S the model's side · D width
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.bundle import read_bundle
from service.images import decode_image
from service.sessions import Graph, open_sessions
from service.settings import read_settings


class Encoder:
    """Of one bundle, with the service's own settings for threads and batches."""

    def __init__(self, bundle: Path, device: str) -> None:
        self.settings = read_settings(device=device)
        manifest = read_bundle(bundle).manifest
        self._side = manifest.image_size
        graph = Graph(bundle / "encoder.onnx", {"image": (self._side, self._side, 3)})
        self._session = open_sessions(manifest, {"encode": graph}, self.settings, tell=lambda _: None)[
            "encode"
        ]
        for size in range(1, self.settings.max_batch + 1):
            self.run([np.zeros((self._side, self._side, 3), np.uint8)] * size)

    def decode(self, jpeg: bytes) -> NDArray[np.uint8]:
        """Pixels (S, S, 3)."""
        return decode_image(jpeg, self._side, "crop", self.settings.max_image_pixels).pixels

    def run(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Vectors (B, D): the mean of each picture's tokens."""
        [semantics] = self._session.run(["semantics"], {"image": np.stack(pixels)})
        vectors: NDArray[np.float32] = semantics.mean(axis=1)
        return vectors

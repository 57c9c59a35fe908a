"""BentoML: a service that decodes, and one behind it that gathers batches by itself."""

import asyncio

import bentoml
import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.serving.encoder import Decoder, Encoder

SETTINGS = Decoder.settings_of_environment()
QUIET = {"access": {"enabled": False}}


@bentoml.service(logging=QUIET)
class Encoding:
    def __init__(self) -> None:
        self._encoder = Encoder.from_environment()

    @bentoml.api(batchable=True, max_batch_size=SETTINGS.max_batch)
    def encode(self, pixels: np.ndarray) -> np.ndarray:
        return self._encoder.run(pixels)


@bentoml.service(logging=QUIET, threads=SETTINGS.decode_threads)
class Embedding:
    encoding = bentoml.depends(Encoding)

    def __init__(self) -> None:
        self._decoder = Decoder.from_environment()

    @bentoml.api
    async def embed(self, image: bytes, /) -> bytes:
        pixels = await asyncio.to_thread(self._decoder.decode, image)
        vectors: NDArray[np.float32] = await self.encoding.to_async.encode(pixels[None])
        vector: bytes = vectors[0].tobytes()
        return vector

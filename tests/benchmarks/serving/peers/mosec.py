"""mosec: processes that decode, one that runs batches, a server in Rust before them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mosec import Server, Worker
from numpy.typing import NDArray

from tests.benchmarks.serving.encoder import Decoder, Encoder

MAX_WAIT_MS = 1
"""The shortest that there is; under load batches fill while the encoder is busy."""


class Decode(Worker):
    def __init__(self) -> None:
        super().__init__()
        self._decoder = Decoder.from_environment()

    def deserialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: bytes) -> NDArray[np.uint8]:
        return self._decoder.decode(data)


class Encode(Worker):
    def __init__(self) -> None:
        super().__init__()
        self._encoder = Encoder.from_environment()

    def forward(self, data: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        return list(self._encoder.run(data))

    def serialize(self, data: NDArray[np.float32]) -> bytes:
        return data.tobytes()


def main() -> None:
    settings = Decoder.settings_of_environment()
    server = Server()
    server.append_worker(Decode, num=settings.decode_threads)
    server.append_worker(Encode, max_batch_size=settings.max_batch, max_wait_time=MAX_WAIT_MS)
    server.run()


if __name__ == "__main__":
    main()

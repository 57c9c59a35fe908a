"""LitServe: workers that each take a batch, decode it and run it."""

import os
from collections.abc import Sequence
from typing import Annotated

import litserve
import numpy as np
from fastapi import Body, Response
from numpy.typing import NDArray

from tests.benchmarks.serving.encoder import Encoder

WORKERS = 2
"""One decodes while the other runs."""


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self._encoder = Encoder.from_environment()

    def decode_request(self, request: Annotated[bytes, Body()]) -> NDArray[np.uint8]:
        return self._encoder.decode(request)

    def batch(self, inputs: Sequence[NDArray[np.uint8]]) -> Sequence[NDArray[np.uint8]]:
        return inputs

    def predict(self, x: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return self._encoder.run(x)

    def unbatch(self, output: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return list(output)

    def encode_response(self, output: NDArray[np.float32]) -> Response:
        return Response(output.tobytes(), media_type="application/octet-stream")


def main() -> None:
    settings = Encoder.settings_of_environment()
    api = Api(max_batch_size=settings.max_batch, batch_timeout=0.0, api_path="/embed")
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=WORKERS, timeout=False, fast_queue=True
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()

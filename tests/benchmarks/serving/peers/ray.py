"""Ray Serve: a replica that decodes on threads and gathers batches with `serve.batch`."""

import asyncio
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from tests.benchmarks.serving.encoder import Encoder

SETTINGS = Encoder.settings_of_environment()
MAX_WAIT_S = 0.001
MAX_ONGOING = 512


@serve.deployment(max_ongoing_requests=MAX_ONGOING)
class Embedder:
    def __init__(self) -> None:
        self._encoder = Encoder.from_environment()
        self._threads = ThreadPoolExecutor(SETTINGS.decode_threads)

    @serve.batch(max_batch_size=SETTINGS.max_batch, batch_wait_timeout_s=MAX_WAIT_S)
    async def encode(self, pixels: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        return list(await asyncio.to_thread(self._encoder.run, pixels))

    async def __call__(self, request: Request) -> Response:
        jpeg = await request.body()
        loop = asyncio.get_running_loop()
        pixels = await loop.run_in_executor(self._threads, self._encoder.decode, jpeg)
        vector: Any = await self.encode(pixels)
        return Response(vector.tobytes(), media_type="application/octet-stream")


def main() -> None:
    ray.init(include_dashboard=False, _node_ip_address="127.0.0.1")
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
    serve.run(Embedder.bind(), route_prefix="/embed")  # type: ignore[attr-defined]  # the decorator adds it
    signal.sigwait([signal.SIGTERM])
    ray.shutdown()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    main()

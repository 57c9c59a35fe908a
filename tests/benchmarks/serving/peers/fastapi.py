"""FastAPI by hand: a handler that decodes and runs one picture on a thread, without batches."""

from __future__ import annotations

import os

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from tests.benchmarks.serving.encoder import Encoder

app = FastAPI()
encoder = Encoder.from_environment()


@app.post("/embed")
async def embed(request: Request) -> Response:
    vector = await run_in_threadpool(_embedded, await request.body())
    return Response(vector, media_type="application/octet-stream")


def _embedded(jpeg: bytes) -> bytes:
    return encoder.run([encoder.decode(jpeg)]).tobytes()


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", access_log=False)

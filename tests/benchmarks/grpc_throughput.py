"""gRPC beside HTTP with binary tensors: one server, the same pictures, 32 clients that each wait for answers.

Both are sent as bytes that are ready, so that clients take as little of the processors as they can. Rounds
are interleaved; figures are medians over rounds: `python -m tests.benchmarks.grpc_throughput`.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import grpc
import numpy as np
import orjson
import typer
from rich.console import Console
from rich.table import Table

from service.http.grpc.protocol import SERVICE, ModelInferRequest
from tests.benchmarks.serving.load import HOST, Connection
from tests.service.photos import photo
from tests.service.server import Server, running

CLIENTS = 32
ALONE = (("grpc.use_local_subchannel_pool", 1),)
"""A channel has a connection of its own."""
Send = Callable[[], Awaitable[None]]
Connect = Callable[[AsyncExitStack, Server, str, "Tensor"], Awaitable[list[Send]]]


class Tensor(NamedTuple):
    """What a model is sent."""

    datatype: str
    shape: list[int]
    raw: bytes


def tensors() -> dict[str, Tensor]:
    """A picture for each model."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    picture = photo("astronaut")
    return {
        "encoder": Tensor("UINT8", list(pixels.shape), pixels.tobytes()),
        "embed": Tensor("BYTES", [1], len(picture).to_bytes(4, "little") + picture),
    }


def http_request(model: str, tensor: Tensor) -> bytes:
    """A POST whose tensors are bytes, and that wants bytes back."""
    image = {"name": "image", "datatype": tensor.datatype, "shape": tensor.shape}
    sized = image | {"parameters": {"binary_data_size": len(tensor.raw)}}
    header = orjson.dumps({"inputs": [sized], "parameters": {"binary_data_output": True}})
    fields = {
        "Host": HOST,
        "Content-Length": str(len(header) + len(tensor.raw)),
        "Inference-Header-Content-Length": str(len(header)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST /v2/models/{model}/infer HTTP/1.1\r\n{lines}\r\n".encode() + header + tensor.raw


def grpc_request(model: str, tensor: Tensor) -> bytes:
    image = {"name": "image", "datatype": tensor.datatype, "shape": tensor.shape}
    request = ModelInferRequest(model_name=model, inputs=[image], raw_input_contents=[tensor.raw])
    return bytes(request.SerializeToString())


async def http_clients(stack: AsyncExitStack, server: Server, model: str, tensor: Tensor) -> list[Send]:
    request = http_request(model, tensor)

    async def client() -> Send:
        _, connection = await asyncio.get_running_loop().create_connection(Connection, HOST, server.port)
        stack.callback(connection.close)

        async def send() -> None:
            answer = await connection.post(request)
            assert answer.status == 200, answer

        return send

    return [await client() for _ in range(CLIENTS)]


async def grpc_clients(
    stack: AsyncExitStack, server: Server, model: str, tensor: Tensor, *, connections: int
) -> list[Send]:
    request = grpc_request(model, tensor)
    address = f"{HOST}:{server.logged('grpc_listening')[0]['port']}"
    calls = []
    for _ in range(connections):
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address, options=ALONE))
        calls.append(channel.unary_unary(f"/{SERVICE}/ModelInfer"))
    return [lambda call=call: call(request) for call in calls * (CLIENTS // connections)]  # type: ignore[misc]


async def stream_clients(stack: AsyncExitStack, server: Server, model: str, tensor: Tensor) -> list[Send]:
    """Clients that share a call of many requests, whose answers come in their order."""
    request = grpc_request(model, tensor)
    address = f"{HOST}:{server.logged('grpc_listening')[0]['port']}"
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(address, options=ALONE))
    call = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")()
    stack.callback(call.cancel)
    waiting: deque[asyncio.Future[None]] = deque()
    line = asyncio.Lock()

    async def send() -> None:
        answered = asyncio.get_running_loop().create_future()
        async with line:
            waiting.append(answered)
            await call.write(request)
        await answered

    async def read() -> None:
        while True:
            await call.read()
            waiting.popleft().set_result(None)

    stack.callback(asyncio.create_task(read()).cancel)
    return [send] * CLIENTS


async def load(server: Server, clients: list[Send], seconds: float) -> tuple[float, float]:
    """Answers a second, and milliseconds of the server's processors for each."""
    answers = 0

    async def client(send: Send) -> None:
        nonlocal answers
        while time.perf_counter() < end:
            await send()
            answers += 1

    await asyncio.gather(*(send() for send in clients))  # connects, and warms up
    worked_s, began = server.worked_s, time.perf_counter()
    end = began + seconds
    await asyncio.gather(*map(client, clients))
    took_s = time.perf_counter() - began
    return answers / took_s, 1000 * (server.worked_s - worked_s) / answers


async def measure(server: Server, rounds: int, seconds: float) -> dict[str, dict[str, tuple[float, float]]]:
    """For each model and each way the medians of both figures."""
    ways: dict[str, Connect] = {
        "HTTP": http_clients,
        "gRPC": partial(grpc_clients, connections=CLIENTS),
        "gRPC, one connection": partial(grpc_clients, connections=1),
        "gRPC, one stream": stream_clients,
    }
    results: dict[str, dict[str, tuple[float, float]]] = {}
    for model, tensor in tensors().items():
        found: Mapping[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, connect in ways.items():
                async with AsyncExitStack() as stack:
                    clients = await connect(stack, server, model, tensor)
                    found[way].append(await load(server, clients, seconds))
        results[model] = {
            way: (statistics.median(rate for rate, _ in each), statistics.median(ms for _, ms in each))
            for way, each in found.items()
        }
    return results


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 7,
    seconds: Annotated[float, typer.Option(help="Of each round and way.")] = 3.0,
) -> None:
    table = Table("model", "way", "answers a second", "of HTTP's", "server's processor ms an answer")
    settings = {"STELLAR_GRPC_PORT": "0", "STELLAR_THREADS": "0"}
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "log", settings) as server:
        for model, ways in asyncio.run(measure(server, rounds, seconds)).items():
            base, _ = ways["HTTP"]
            for way, (rate, ms) in ways.items():
                table.add_row(model, way, f"{rate:.0f}", f"{rate / base:.2f} ×", f"{ms:.2f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)

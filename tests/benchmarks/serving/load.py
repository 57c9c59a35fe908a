"""The load generator, a process of its own: posts pictures over and over and prints a `Measurement`.

In a closed loop so many clients each wait for an answer before they post again. In an open loop requests
leave at a fixed rate whatever the server does; a latency counts from the instant that the schedule says, so
that a server which stalls pays for all who would have come meanwhile (no coordinated omission).

Where there are several pictures, an answer with another body than the first to the same picture has failed.

It prints "begin" and "end" when the window begins and ends, then the measurement as JSON.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from itertools import count, cycle
from pathlib import Path
from typing import Annotated, NamedTuple, cast

import typer
import uvloop

from tests.benchmarks.serving.arrivals import arrivals
from tests.benchmarks.serving.measurement import Measurement, measure

HOST = "127.0.0.1"
HEADERS = {
    "Content-Type": "image/jpeg",
    "Accept": "application/x-npy, */*;q=0.1",
    "Inference-Header-Content-Length": "0",
}
"""The leanest answer of each server: the bare numbers. The last tells Triton that the body is bare, too."""
MAX_CONNECTIONS = 512
DRAIN_S = 10.0
"""How long answers of an open loop are waited for after the window."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request at a time."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._answer: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own are not of that class

    async def post(self, request: bytes) -> Answer:
        """The answer to a request, whose bytes are ready. Raises `ConnectionError`."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0 or self._answer is None:
            return
        head = bytes(self._received[:head_end]).lower()
        _, found, rest = head.partition(b"\r\ncontent-length:")
        if not found:
            self._fail(f"expected an answer with Content-Length, got {head.decode('latin-1')!r}")
        elif len(self._received) >= head_end + 4 + int(rest.split(b"\r\n", 1)[0]):
            body = bytes(self._received[head_end + 4 :])
            self._received.clear()
            self._answer.set_result(Answer(int(head.split(b" ", 2)[1]), body))

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the server closed the connection: {error}")

    def _fail(self, message: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(message))

    def close(self) -> None:
        self._transport.close()


class Load:
    """What is posted where, and what came of it; ports and requests take turns."""

    def __init__(self, ports: Sequence[int], requests: Sequence[bytes]) -> None:
        self._ports = cycle(ports)
        self._requests = requests
        self._turns = count()
        self._first: dict[int, bytes] = {}
        """The body of the first good answer to each request, where there are several."""
        self._begin = self._end = 0.0
        self._latencies_s: list[float] = []
        self._failed = 0
        self._free: list[Connection] = []
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)

    async def closed(self, concurrency: int, seconds: float, warm_s: float) -> Measurement:
        """Clients who wait for their answers; what ends within the window counts."""

        async def client() -> None:
            while (started := time.perf_counter()) < self._end:
                good = await self._post()
                ended = time.perf_counter()
                self._count(ended, ended - started, good)

        self._plan(seconds, warm_s)
        return await self._window(asyncio.gather(*(client() for _ in range(concurrency))))

    async def open(self, rate: float, seconds: float, warm_s: float) -> Measurement:
        """Requests at a rate; what was due within the window counts."""

        async def visitor(due: float) -> None:
            good = await self._post()
            self._count(due, time.perf_counter() - due, good)

        async def schedule() -> None:
            first, visitors = self._begin - warm_s, []
            for instant in arrivals(rate, warm_s + seconds):
                await asyncio.sleep(first + instant - time.perf_counter())
                visitors.append(asyncio.create_task(visitor(first + instant)))
            _, unanswered = await asyncio.wait(visitors, timeout=DRAIN_S)
            for task in unanswered:
                task.cancel()
            self._failed += len(unanswered)

        self._plan(seconds, warm_s)
        return await self._window(schedule())

    def _plan(self, seconds: float, warm_s: float) -> None:
        self._begin = time.perf_counter() + warm_s
        self._end = self._begin + seconds

    async def _window(self, work: Awaitable[object]) -> Measurement:
        """The window's measurement; says on standard output when it begins and ends."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        cpu_s: list[float] = []

        def tell(what: str) -> None:
            cpu_s.append(time.process_time())
            print(what, flush=True)

        def finish() -> None:
            tell("end")
            over.set()

        now = time.perf_counter()
        loop.call_later(self._begin - now, tell, "begin")
        loop.call_later(self._end - now, finish)
        await work
        await over.wait()
        return measure(
            self._latencies_s,
            seconds=self._end - self._begin,
            failed=self._failed,
            client_cpu_s=cpu_s[1] - cpu_s[0],
        )

    async def _post(self) -> bool:
        """Whether the answer to one request was a good one."""
        async with self._places:
            try:
                connection = self._free.pop() if self._free else await self._connect()
                turn = next(self._turns) % len(self._requests)
                answer = await connection.post(self._requests[turn])
            except OSError:
                return False
            self._free.append(connection)
            if answer.status != 200 or len(self._requests) == 1:
                return answer.status == 200
            return answer.body == self._first.setdefault(turn, answer.body)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, HOST, next(self._ports))
        return connection

    def close(self) -> None:
        """Close its connections."""
        for connection in self._free:
            connection.close()

    def _count(self, instant: float, latency_s: float, good: bool) -> None:
        if self._begin <= instant < self._end:
            if good:
                self._latencies_s.append(latency_s)
            else:
                self._failed += 1


def request_bytes(path: str, picture: bytes) -> bytes:
    """A POST of a JPEG."""
    fields = HEADERS | {"Host": HOST, "Content-Length": str(len(picture))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + picture


def main(
    pictures: list[Path],
    port: Annotated[list[int], typer.Option(help="May be repeated: clients are spread over them.")],
    path: Annotated[str, typer.Option()],
    seconds: float = 5.0,
    warm_s: float = 1.0,
    concurrency: int = 1,
    rate: Annotated[float | None, typer.Option(help="Requests a second, in an open loop.")] = None,
) -> None:
    """Measure a server on the loopback address."""

    requests = [request_bytes(path, picture.read_bytes()) for picture in pictures]

    async def run() -> Measurement:
        load = Load(port, requests)
        if rate is not None:
            return await load.open(rate, seconds, warm_s)
        return await load.closed(concurrency, seconds, warm_s)

    print(uvloop.run(run()).model_dump_json())  # the server pays for what this costs


if __name__ == "__main__":
    typer.run(main)

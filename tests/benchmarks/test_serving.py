"""The benchmark of serving measures what it says."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from tests.benchmarks.serving.arrivals import arrivals
from tests.benchmarks.serving.campaign import Campaign
from tests.benchmarks.serving.contenders import BARE
from tests.benchmarks.serving.load import Load, request_bytes
from tests.benchmarks.serving.matrix import Cell
from tests.benchmarks.serving.measurement import Measurement, percentile
from tests.benchmarks.serving.table import write_table


def test_the_service_is_measured_beside_the_bare_loop(tmp_path: Path) -> None:
    campaign = Campaign(
        out=tmp_path,
        servers=(BARE, "ours"),
        cells=(Cell(concurrency=8),),
        rounds=1,
        seconds=0.5,
        warm_s=0.2,
    )
    campaign.run()
    table = write_table(campaign)
    assert all(f"| {server} |" in table for server in campaign.servers), table
    [measurement] = campaign.results(campaign.cells[0], "ours")
    assert measurement.failed == 0
    assert measurement.images_per_s > 0
    assert measurement.cpu_s > 0
    assert measurement.peak_mb > 50  # ONNX Runtime alone is larger


def test_what_is_measured_is_not_measured_again(tmp_path: Path) -> None:
    campaign = Campaign(
        out=tmp_path, servers=(BARE,), cells=(Cell(concurrency=2),), rounds=1, seconds=0.3, warm_s=0.1
    )
    campaign.run()
    [before] = campaign.results(campaign.cells[0], BARE)
    campaign.run()
    assert campaign.results(campaign.cells[0], BARE) == [before]


class SlowServer:
    """Answers one request after the other, each after 50 ms."""

    SERVICE_S = 0.05

    def __init__(self, status: str = "200 OK") -> None:
        self._turn = asyncio.Lock()
        self._writers: list[asyncio.StreamWriter] = []
        self._answer = f"HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\nabcd".encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
                await reader.readexactly(int(length))
                async with self._turn:
                    await asyncio.sleep(self.SERVICE_S)
                writer.write(self._answer)

    async def measured(self, **load: float) -> Measurement:
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            generator = Load([port], [request_bytes("/", b"picture")])
            try:
                if "rate" in load:
                    return await generator.open(load["rate"], 1.0, 0.1)
                return await generator.closed(int(load["concurrency"]), 1.0, 0.1)
            finally:
                generator.close()
                for writer in self._writers:
                    writer.close()
                    await writer.wait_closed()


def test_a_fixed_rate_counts_the_wait_of_those_who_come_to_a_slow_server() -> None:
    """Twice as many come as it can serve: the last of them waits for half of the window."""
    measurement = asyncio.run(SlowServer().measured(rate=40))
    assert measurement.failed == 0
    assert measurement.p99_ms > 1000 * 4 * SlowServer.SERVICE_S


def test_clients_who_wait_take_turns() -> None:
    measurement = asyncio.run(SlowServer().measured(concurrency=4))
    assert measurement.failed == 0
    assert 0 < measurement.images_per_s <= 1 / SlowServer.SERVICE_S + 1
    assert measurement.p50_ms >= 1000 * 4 * SlowServer.SERVICE_S - 5


def test_refusals_count_as_failed() -> None:
    measurement = asyncio.run(SlowServer("503 Service Unavailable").measured(concurrency=1))
    assert measurement.answered == 0
    assert measurement.failed > 0


def test_arrivals_have_their_rate_and_are_the_same_each_time() -> None:
    instants = list(arrivals(1000.0, 10.0))
    assert instants == sorted(instants)
    assert max(instants) < 10
    assert len(instants) == pytest.approx(10_000, rel=0.05)
    assert instants == list(arrivals(1000.0, 10.0))


def test_percentiles() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.99) == 4.0
    assert percentile([7.0], 0.5) == 7.0

"""The benchmark of what is around the model runs, counts every process, and sees wrong answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.benchmarks.serving.ceiling import main
from tests.benchmarks.serving.commits import checked_out
from tests.benchmarks.serving.load import Load, request_bytes
from tests.benchmarks.serving.measurement import Measurement


def measured(out: Path, name: str) -> Measurement:
    [file] = out.glob(f"*/{name}-0.json")
    return Measurement.model_validate_json(file.read_bytes())


def test_a_fleet_of_two_api_processes_is_measured_by_process(tmp_path: Path) -> None:
    main(out=tmp_path, rows="redis-2", rounds=1, seconds=0.3, concurrency=8)
    fleet = measured(tmp_path, "redis-2")
    assert fleet.failed == 0
    assert fleet.answered > 0
    assert {"api", "worker", "redis"} <= set(fleet.cpu_s_by_part)
    assert fleet.cpu_ms_per_image > measured(tmp_path, "decoding").cpu_ms_per_image > 0
    assert "| redis-2 |" in (tmp_path / "table.md").read_text()


def test_a_commit_stands_beside_today(tmp_path: Path) -> None:
    main(out=tmp_path, rows="local", baseline="HEAD", rounds=1, seconds=0.3, concurrency=8)
    for name in ("decoding", "decoding@HEAD", "local", "local@HEAD"):
        assert measured(tmp_path, name).answered > 0
    assert "| today / baseline |" in (tmp_path / "table.md").read_text()


def test_a_commit_that_is_not_there_is_told() -> None:
    with pytest.raises(ValueError, match="no-such-commit can't be had"), checked_out("no-such-commit"):
        pass


class ForgetfulServer(asyncio.Protocol):
    """Answers the first requests with what they sent, later ones with what another did."""

    answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        body = data.rpartition(b"\r\n\r\n")[2] if self.answered < 4 else b"a"
        self.answered += 1
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n" + body)  # type: ignore[attr-defined]


def test_another_answer_than_the_first_to_a_picture_has_failed() -> None:
    async def run() -> Measurement:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(ForgetfulServer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            load = Load([port], [request_bytes("/", picture) for picture in (b"a", b"b")])
            try:
                return await load.closed(1, 0.3, 0.0)
            finally:
                load.close()

    measurement = asyncio.run(run())
    assert measurement.failed == pytest.approx(measurement.answered, rel=0.5)  # every other picture

"""Messages on their way: places for them, in fair order, and what is left of those that are refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from service.errors import TooBusy
from service.http.bodies import Bodies
from service.http.grpc.reading import AT_A_TIME, Places, longest_message
from tests.service.http.grpc.wire import channel, infer, refused, request, written
from tests.service.server import Server


def test_one_client_has_half_of_the_places() -> None:
    places = Places(4)
    for client in ("a", "a", "b"):
        places.take(client)
    with pytest.raises(TooBusy):
        places.take("a")
    places.take("c")
    with pytest.raises(TooBusy):
        places.take("d")
    places.leave("a")
    places.take("d")


def test_lone_place_is_anybody_s() -> None:
    places = Places(1)
    places.take("a")
    places.leave("a")
    places.take("b")


def test_who_waits_is_let_in_in_order_unless_its_client_has_half() -> None:
    async def wait() -> list[str]:
        places, order = Places(2), list[str]()

        async def enter(name: str) -> None:
            await places.wait(name[0])
            order.append(name)

        names = ["a1", "a2", "b1", "c1", "c2"]
        tasks = {name: asyncio.create_task(enter(name)) for name in names}
        await asyncio.sleep(0)
        tasks["c1"].cancel()  # it goes from the line
        for client in ("b", "a", "a"):
            await asyncio.sleep(0)
            places.leave(client)
        await asyncio.gather(*(tasks[name] for name in names if name != "c1"))
        return order

    assert asyncio.run(wait()) == ["a1", "b1", "c2", "a2"]


def test_messages_that_are_read_at_a_time_take_half_of_the_memory() -> None:
    for memory, most in ((256 * 2**20, 64 * 2**20), (2**30, 1000)):
        longest = longest_message(Bodies(memory), most)
        assert longest <= most
        assert memory // 2 // longest >= AT_A_TIME


def resident_mb(server: Server) -> float:
    (line,) = [
        line
        for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    ]
    return int(line.split()[1]) / 1024


def test_messages_that_are_refused_are_not_kept(both: Server) -> None:
    """Half a gigabyte goes through."""
    wrong = written(request("embed", "image", "BYTES", [1], bytes(16 * 2**20)))
    with channel(both) as opened:
        assert refused(infer(opened), wrong)[1] == "bad_tensor"
        before = resident_mb(both)
        for _ in range(30):
            refused(infer(opened), wrong)
    assert resident_mb(both) < before + 200

"""Frames come whole, however the bytes of a connection are cut."""

from __future__ import annotations

import random

import numpy as np
import pytest

from service.host.wire import AT_ONCE, HEAD, Ask, Frames, Kind, Result

RNG = np.random.default_rng(0)
LONG_ID = "r" * 64
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Heard(Frames):
    """Keeps what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[tuple[int, int, bytes]] = []

    def frame_received(self, kind: int, number: int, body: bytearray) -> None:
        self.frames.append((kind, number, bytes(body)))

    def hear(self, data: bytes) -> None:
        """As an event loop does: as much at a time as there is room for."""
        while data:
            room = self.get_buffer(-1)
            assert len(room) > 0
            taken = min(len(room), len(data))
            room[:taken] = data[:taken]
            data = data[taken:]
            self.buffer_updated(taken)


@pytest.mark.parametrize("longest", [1, 7, AT_ONCE, 10 * AT_ONCE])
def test_frames_come_whole(longest: int) -> None:
    lengths = (0, 1, 0, AT_ONCE - HEAD.size, AT_ONCE, 3 * AT_ONCE, 0, 5)
    sent = [(Kind.ASK, number, RNG.bytes(length)) for number, length in enumerate(lengths)]
    data = b"".join(HEAD.pack(len(body), number, kind) + body for kind, number, body in sent)
    heard, cuts = Heard(), random.Random(0)
    while data:
        size = cuts.randint(1, longest)
        heard.hear(data[:size])
        data = data[size:]
    assert heard.frames == sent


@pytest.mark.parametrize(("request_id", "trace"), [("", ""), ("a", ""), (LONG_ID, TRACE), ("", TRACE)])
def test_items_are_read_as_they_were_written(request_id: str, trace: str) -> None:
    arrays = {
        "semantics": RNG.random((16, 768), np.float32),
        "localization": RNG.random((196, 16), np.float32),
    }
    ask = Ask(
        model=3,
        stage="decode",
        lane="bulk",
        deadline=12345.678,
        request_id=request_id,
        trace=trace,
        outputs=("semantics", "cls"),
        arrays={name: array.astype("<f4") for name, array in arrays.items()},
    )
    read = Ask.read(bytearray(b"".join(ask.body())))
    assert (read.model, read.stage, read.lane, read.deadline) == (3, "decode", "bulk", 12345.678)
    assert read.outputs == ("semantics", "cls")
    assert (read.request_id, read.trace) == (request_id, trace)
    for name, array in arrays.items():
        assert np.array_equal(read.arrays[name], array)


def test_results_are_read_as_they_were_written() -> None:
    image = RNG.integers(0, 256, (8, 8, 3), np.uint8)
    read = Result.read(bytearray(b"".join(Result(0.25, {"image": image}).body())))
    assert read.engine_s == 0.25
    assert np.array_equal(read.arrays["image"], image)

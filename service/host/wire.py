"""What the processes of a host and their engine say to each other: frames, arrays as they lie in memory.

A frame is a head (length of the body, number, kind) and a body. The number is an item's, chosen by the
process that asks, or an edition's.

    process → engine   ASK       an item
                       WITHDRAW  nobody waits for the item any more
                       HEARD     the edition is what requests find
                       LEFT      nothing of the editions before it is used any more
    engine → process   RESULT    an item's arrays
                       FAILURE   an item's error
                       EDITION   what is served from now on
                       WAITING   how many items wait, by model and stage

Both ends are one program, and nobody else can enter the socket's folder: what comes is not checked.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import cast

from service.batching.batcher import Outputs
from service.batching.lanes import LANES, Lane
from service.batching.layout import ALIGNED, Parts, parts_of, unpack
from service.runtime.engine import STAGES, Arrays, Stage

HEAD = Struct("<IIB")
ASKED = Struct("<dHHBBxx")
RAN = Struct("<d8x")
AT_ONCE = 64 * 2**10
"""Bytes that are read at a time; of a larger body the rest is read to where it stays."""


class Kind(IntEnum):
    """What a frame is."""

    ASK = 0
    WITHDRAW = 1
    HEARD = 2
    LEFT = 3
    RESULT = 4
    FAILURE = 5
    EDITION = 6
    WAITING = 7


class Frames(asyncio.BufferedProtocol):
    """One end of a connection: cuts what comes into frames."""

    def __init__(self) -> None:
        self._received = bytearray(AT_ONCE)
        self._view = memoryview(self._received)
        self._filled = 0
        self._large: bytearray | None = None
        """The body of a frame that is larger than what came with its head."""
        self._large_filled = 0
        self._large_head = (Kind.ASK, 0)

    @abstractmethod
    def frame_received(self, kind: int, number: int, body: bytearray) -> None:
        """A frame is there; its body is the receiver's."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, kind: Kind, number: int, *body: bytes | memoryview) -> None:
        """Send a frame, unless the other end is gone; uvloop lets what is sent in one turn leave together."""
        if self._transport.is_closing():
            return
        self._transport.writelines((HEAD.pack(sum(map(len, body)), number, kind), *body))

    def get_buffer(self, _sizehint: int) -> memoryview:
        if self._large is not None:
            return memoryview(self._large)[self._large_filled :]
        return self._view[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._large is None:
            self._filled += nbytes
            self._cut()
            return
        self._large_filled += nbytes
        if self._large_filled == len(self._large):
            body, self._large = self._large, None
            self.frame_received(*self._large_head, body)

    def _cut(self) -> None:
        """Hand out the frames that are whole, and keep what is begun."""
        begin, end = 0, self._filled
        while end - begin >= HEAD.size:
            length, number, kind = HEAD.unpack_from(self._received, begin)
            begin += HEAD.size
            if (there := end - begin) < length:
                self._large, self._large_filled, self._large_head = bytearray(length), there, (kind, number)
                self._large[:there] = self._view[begin:end]
                begin = end
                break
            self.frame_received(kind, number, self._received[begin : begin + length])
            begin += length
        self._filled = end - begin
        self._view[: self._filled] = self._view[begin:end]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """An item to run."""

    model: int
    """Its number in the edition."""
    stage: Stage
    lane: Lane
    deadline: float
    """A `time.monotonic()` instant: the processes of a host have one such clock."""
    request_id: str
    """Of the HTTP request, for logs; may be empty."""
    trace: str
    """The request's place in its trace (W3C `traceparent`); empty where it is not traced."""
    outputs: Outputs
    """What is wanted of it."""
    arrays: Arrays

    def body(self) -> Parts:
        """Its frame's."""
        text = f"{self.request_id} {self.trace} {','.join(self.outputs)}".encode()
        text += b" " * (-len(text) % ALIGNED)
        stage, lane = STAGES.index(self.stage), LANES.index(self.lane)
        head = ASKED.pack(self.deadline, self.model, len(text), stage, lane)
        return (head, text, *parts_of(self.arrays))

    @classmethod
    def read(cls, body: bytearray) -> Ask:
        """What a frame's body says."""
        deadline, model, length, stage, lane = ASKED.unpack_from(body)
        end = ASKED.size + length
        request_id, trace, outputs, *_ = body[ASKED.size : end].decode().split(" ")
        return cls(
            model=model,
            stage=STAGES[stage],
            lane=LANES[lane],
            deadline=deadline,
            request_id=request_id,
            trace=trace,
            outputs=tuple(outputs.split(",")),
            arrays=unpack(body, end),
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an item."""

    engine_s: float
    """Time from the engine's reading of the item to its answer."""
    arrays: Arrays

    def body(self) -> Parts:
        """Its frame's."""
        return (RAN.pack(self.engine_s), *parts_of(self.arrays))

    @classmethod
    def read(cls, body: bytearray) -> Result:
        """What a frame's body says."""
        [engine_s] = RAN.unpack_from(body)
        return cls(engine_s, unpack(body, RAN.size))

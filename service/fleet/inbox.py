"""What a worker takes: commands that ask Redis for entries, and the items of their answers, put in line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from redis.exceptions import ResponseError

from service.batching.lanes import LANES, Lane
from service.batching.layout import Malformed
from service.errors import InternalError, ItemBuried
from service.fleet.jobs import Job, Source
from service.fleet.lineup import Lineup, Look
from service.fleet.names import GROUP, Names
from service.fleet.outbox import Outbox
from service.fleet.resp import Command
from service.fleet.scripts import CLAIM, call
from service.fleet.wire import Fields, Request
from service.settings import Settings
from service.watch.logs import logger
from service.watch.metrics import Metrics

BLOCK_MS = 500


class Inbox:
    """The streams that a worker reads; many threads may ask."""

    def __init__(
        self,
        settings: Settings,
        sources: Sequence[Source],
        lineup: Lineup,
        metrics: Metrics,
        *,
        names: Names,
        worker: str,
    ) -> None:
        """`worker` is its name among the consumers."""
        self._settings = settings
        self._lineup = lineup
        self._metrics = metrics
        self._worker = worker
        self._replies = names.replies("")
        self._sources: Mapping[bytes, Source] = {source.stream.encode(): source for source in sources}
        self._lanes = {lane: [each.stream for each in sources if each.lane == lane] for lane in LANES}

    def reads(self, look: Look) -> list[tuple[int, Command]]:
        """Commands that take items, and how many at most of each stream."""
        if look.wait:
            streams = [*self._lanes["small"], *self._lanes["bulk"]]
            return [(look.small, self._read(look.small, streams, "BLOCK", BLOCK_MS))]
        counts: dict[Lane, int] = {"small": look.small, "bulk": look.bulk}
        return [(most, self._read(most, self._lanes[lane])) for lane, most in counts.items() if most]

    def found(self, reads: Sequence[tuple[int, Command]], answers: Sequence[Any], outbox: Outbox) -> None:
        """Put in line what was read."""
        small, more = 0, False
        for (most, _), answer in zip(reads, answers, strict=True):
            for stream, entries in answer or ():
                source = self._sources[stream]
                self._accept(source, ((entry, parts, 1) for entry, parts in entries), outbox)
                more |= len(entries) >= most
                small += len(entries) if source.lane == "small" else 0
        self._lineup.found(small=small, more=more)

    def claims(self) -> list[Command]:
        """Commands that take over what workers that died have left."""
        idle_ms, count = self._settings.claim_idle_ms, self._settings.max_batch
        return [
            call(CLAIM, [source.stream], GROUP, self._worker, idle_ms, count)
            for source in self._sources.values()
        ]

    def claimed(self, answers: Sequence[Any], outbox: Outbox) -> None:
        """Put in line what was taken over. Raises `ResponseError` for what Redis has refused."""
        held = set(self._lineup.held())
        for source, answer in zip(self._sources.values(), answers, strict=True):
            if isinstance(answer, ResponseError):
                raise answer
            claimed = [each for each in answer if (source.stream, each[0]) not in held]
            if claimed:
                logger.warning("claimed", stream=source.stream, items=len(claimed))
                self._metrics.redeliveries.inc(len(claimed))
                self._accept(source, claimed, outbox)

    def _read(self, count: int, streams: Sequence[str], *options: str | int) -> Command:
        command = ("XREADGROUP", "GROUP", GROUP, self._worker, "COUNT", count, *options)
        return (*command, "STREAMS", *streams, *[">"] * len(streams))

    def _accept(self, source: Source, entries: Iterable[Any], outbox: Outbox) -> None:
        """Put entries in line; or away, where one is malformed or has taken down too many workers."""
        for entry, parts, deliveries in entries:
            fields: Fields = dict(zip(parts[::2], parts[1::2], strict=True))
            try:
                request, item = Request.parse(fields, source.taken)
                if not request.reply_to.startswith(self._replies):
                    raise Malformed(f"answers are not written to {request.reply_to!r}")
            except Malformed as error:
                outbox.bury(source, entry, fields, f"malformed: {error}", InternalError.code)
                continue
            if deliveries > self._settings.max_deliveries:
                outbox.bury(source, entry, fields, f"delivered {deliveries} times", ItemBuried.code)
                continue
            self._lineup.put(Job(source, entry, request, item), suspect=deliveries > 1)

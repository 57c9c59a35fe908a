"""An API process's way to Redis, on its event loop; an absent Redis is one clear error."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from service.batching.layout import Parts
from service.errors import QueueAway
from service.fleet.resp import NOT_YET, Command, answer_reader, check_fit, options_of, packed, unknown_scripts
from service.fleet.scripts import SCRIPTS
from service.settings import Settings


class Link:
    """One connection to Redis, made when it is needed."""

    def __init__(self, settings: Settings) -> None:
        """Connect on the first command."""
        pool = ConnectionPool.from_url(
            settings.redis_url.get_secret_value(), retry=Retry(NoBackoff(), 0), **options_of(settings)
        )
        self._connection = pool.make_connection()  # type: ignore[no-untyped-call]
        self._timeout_s = settings.redis_timeout_s
        self._connecting = asyncio.Lock()
        self._rounds = _Rounds(self._timeout_s)

    async def send(self, *command: str | bytes | int | Parts) -> Any:
        """The answer to one command.

        Raises `QueueAway`, and `redis.exceptions.ResponseError` for what Redis refuses.
        """
        [answer] = await self.run([command])
        if isinstance(answer, ResponseError):
            raise answer
        return answer

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands in one round trip; `ResponseError` in the place of what Redis refuses.

        Nothing is answered while a command blocks, which it must for less than the timeout. Raises
        `QueueAway`.
        """
        answers = await self._run(commands)
        if unknown := unknown_scripts(answers):
            await self._run([("SCRIPT", "LOAD", script.source) for script in SCRIPTS])
            again = await self._run([commands[i] for i in unknown])
            for i, answer in zip(unknown, again, strict=True):
                answers[i] = answer
        return answers

    async def close(self) -> None:
        """Hang up: what still waits for an answer hears `QueueAway`."""
        await self._connection.disconnect(nowait=True)

    async def _run(self, commands: Sequence[Command]) -> list[Any]:
        if self._rounds.over:
            await self._connect()
        return await self._rounds.ask(commands)

    async def _connect(self) -> None:
        async with self._connecting:
            if not self._rounds.over:
                return
            try:
                await self._connection.disconnect(nowait=True)
                await self._connection.connect()
            except (OSError, RedisError) as error:
                raise QueueAway from error
            self._rounds = _Rounds(self._timeout_s)
            self._rounds.begin(self._connection._writer.transport)  # no public name: the tests hold it


@dataclass(eq=False)
class _Round:
    """Commands that were sent together, and what came of them."""

    count: int
    ends: float
    """By when all must have come, by the loop's time."""
    done: asyncio.Future[list[Any]]
    answers: list[Any] = field(default_factory=list)


class _Rounds(asyncio.Protocol):
    """What is asked on a connection and not yet answered, in order."""

    _transport: asyncio.Transport

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._reader = answer_reader()
        self._due: deque[_Round] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self.over = True
        """Whether nothing more can be asked: there is no connection yet, or no more."""

    def begin(self, transport: asyncio.Transport) -> None:
        """Take over a connection."""
        self._transport = transport
        transport.set_protocol(self)
        self.over = False

    def ask(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """The answers, which may be `QueueAway` in their stead."""
        loop = asyncio.get_running_loop()
        asked = _Round(len(commands), loop.time() + self._timeout_s, loop.create_future())
        self._due.append(asked)
        self._transport.writelines(packed(commands))
        if self._watch is None:
            self._watch = loop.call_at(asked.ends, self._look)
        return asked.done

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not NOT_YET:
                check_fit(answer)
                asked = self._due[0]
                asked.answers.append(answer)
                if len(asked.answers) == asked.count:
                    self._due.popleft()
                    if not asked.done.done():
                        asked.done.set_result(asked.answers)
        except (RedisError, IndexError) as error:  # that is no Redis, or one that can't work now
            self._end(error)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionError("Redis has closed the connection"))

    def _look(self) -> None:
        """Whether an answer is overdue; answers come in order, so the first one tells."""
        self._watch = None
        loop = asyncio.get_running_loop()
        if not self._due:
            return
        if self._due[0].ends <= loop.time():
            self._end(TimeoutError(f"no answer for {self._timeout_s:g} s"))
        else:
            self._watch = loop.call_at(self._due[0].ends, self._look)

    def _end(self, error: Exception) -> None:
        if self.over:
            return
        self.over = True
        self._transport.abort()
        if self._watch is not None:
            self._watch.cancel()
        for asked in self._due:
            if not asked.done.done():
                away = QueueAway()
                away.__cause__ = error
                asked.done.set_exception(away)
        self._due.clear()

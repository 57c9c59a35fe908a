"""The way to Redis: commands that go out together travel together, and an absent Redis is one clear error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from service.errors import QueueAway
from service.fleet.scripts import SCRIPTS
from service.settings import Settings

Command = tuple[str | bytes | int, ...]
UNFIT = ("MISCONF", "NOREPLICAS", "UNBLOCKED force", "MASTERDOWN", "CLUSTERDOWN")
"""How Redis begins to say that it can't work now: its disk fails, replicas are missing, its role changes."""


class Link:
    """Connections to one Redis."""

    def __init__(self, settings: Settings) -> None:
        """Connect on the first command."""
        self._redis: Redis = Redis.from_url(
            settings.redis_url.get_secret_value(),
            protocol=2,
            socket_timeout=settings.redis_timeout_s,
            socket_connect_timeout=settings.redis_timeout_s,
            retry=Retry(NoBackoff(), 0),  # whoever sends a command knows best whether to send it again
        )
        # Asked for by its name, redis-py takes the ids that JUSTID answers for entries with fields.
        self._redis.set_response_callback("XCLAIM", _as_it_is)
        self._waiting: list[tuple[Command, asyncio.Future[Any]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def send(self, *command: str | bytes | int) -> Any:
        """The answer to one command; those of concurrent callers share a round trip.

        Raises `QueueAway`, and `redis.exceptions.ResponseError` for what Redis refuses.
        """
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return await answer

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands in one round trip; `ResponseError` in the place of what Redis refuses.

        A command that blocks must be the last, and must block for less than the timeout. Raises `QueueAway`.
        """
        try:
            answers = await self._pipeline(commands)
            unknown = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if unknown:
                await self._pipeline([("SCRIPT LOAD", script.source) for script in SCRIPTS])
                again = await self._pipeline([commands[i] for i in unknown])
                for i, answer in zip(unknown, again, strict=True):
                    answers[i] = answer
        except (OSError, RedisError) as error:
            raise QueueAway from error
        for answer in answers:
            if isinstance(answer, ResponseError) and (
                isinstance(answer, BusyLoadingError | ReadOnlyError) or str(answer).startswith(UNFIT)
            ):
                raise QueueAway from answer
        return answers

    async def close(self) -> None:
        """Send what waits, then hang up."""
        if self._sending is not None:
            await asyncio.gather(self._sending, return_exceptions=True)
        await self._redis.aclose()

    async def _pipeline(self, commands: Sequence[Command]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute(raise_on_error=False)

    async def _send(self) -> None:
        """Send until nothing waits. What comes meanwhile goes out together in the next round."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                try:
                    answers: Sequence[Any] = await self.run([command for command, _ in batch])
                except QueueAway as away:
                    answers = [away] * len(batch)
                for (_, future), answer in zip(batch, answers, strict=True):
                    if future.done():
                        continue
                    if isinstance(answer, ResponseError | QueueAway):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)
        finally:
            self._sending = None


def _as_it_is(response: Any, **_options: Any) -> Any:
    return response

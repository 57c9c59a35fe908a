"""A worker's way to Redis, of one thread, which waits for the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from service.errors import QueueAway
from service.fleet.resp import NOT_YET, Command, answer_reader, check_fit, options_of, packed, unknown_scripts
from service.fleet.scripts import SCRIPTS
from service.settings import Settings

READ_BYTES = 2**18
"""Most that is read at once: a picture of 224 pixels has 150,000."""


class Line:
    """One connection to Redis, made when it is needed; for one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        """Connect on the first command."""
        pool = ConnectionPool.from_url(
            settings.redis_url.get_secret_value(), retry=Retry(NoBackoff(), 0), **options_of(settings)
        )
        self._connection = pool.make_connection()
        self._reader = answer_reader()
        self._read = bytearray(READ_BYTES)

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands in one round trip; `ResponseError` in the place of what Redis refuses.

        A command that blocks must be the last, and must block for less than the timeout. Raises `QueueAway`.
        """
        try:
            answers = self._run(commands)
            if unknown := unknown_scripts(answers):
                self._run([("SCRIPT", "LOAD", script.source) for script in SCRIPTS])
                again = self._run([commands[i] for i in unknown])
                for i, answer in zip(unknown, again, strict=True):
                    answers[i] = answer
        except (OSError, RedisError) as error:
            self.close()
            raise QueueAway from error
        return answers

    def close(self) -> None:
        """Hang up."""
        self._connection.disconnect()  # type: ignore[no-untyped-call]

    def _run(self, commands: Sequence[Command]) -> list[Any]:
        if not self._connection.is_connected:
            self._connection.connect()  # type: ignore[no-untyped-call]
            self._reader = answer_reader()
        socket: Any = self._connection._sock  # type: ignore[attr-defined]  # has no public name
        socket.sendall(b"".join(packed(commands)))
        answers: list[Any] = []
        while len(answers) < len(commands):
            answer = self._reader.gets()
            if answer is not NOT_YET:
                check_fit(answer)
                answers.append(answer)
                continue
            size = socket.recv_into(self._read)
            if not size:
                raise ConnectionError("Redis has closed the connection")
            self._reader.feed(self._read, 0, size)  # type: ignore[arg-type]
        return answers

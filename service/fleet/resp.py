"""Redis's protocol by hiredis. redis-py only connects (URL, TLS, users): the rest of it takes too long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hiredis import Reader, pack_command
from redis.exceptions import InvalidResponse, ResponseError

from service.batching.layout import Parts
from service.settings import Settings

Command = tuple[str | bytes | int | Parts, ...]
"""Only the last argument may be in pieces."""
UNFIT = ("LOADING", "READONLY", "MISCONF", "NOREPLICAS", "UNBLOCKED force", "MASTERDOWN", "CLUSTERDOWN")
"""How Redis begins to say that it can't work now: it starts, its disk fails, replicas are missing, its role
changes."""
EMPTY = b"$0\r\n\r\n"
"""An argument without bytes."""
NOT_YET = object()
"""What a reader has while an answer is not whole."""


def options_of(settings: Settings) -> dict[str, Any]:
    """How redis-py connects; it tries once: who asks knows best whether to ask again."""
    timeout_s = settings.redis_timeout_s
    return {"protocol": 2, "socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}


def packed(commands: Sequence[Command]) -> list[bytes | memoryview]:
    """Commands as bytes, in pieces: what is large is not copied."""
    pieces: list[bytes | memoryview] = []
    for command in commands:
        *others, last = command
        if not isinstance(last, tuple):
            pieces.append(pack_command(command))  # type: ignore[arg-type]
            continue
        head: bytes = pack_command((*others, b""))  # type: ignore[arg-type]
        pieces += (head.removesuffix(EMPTY), b"$%d\r\n" % sum(map(len, last)), *last, b"\r\n")
    return pieces


def answer_reader() -> Reader:
    """What makes answers of bytes; `ResponseError`, with all that it says, for what Redis refuses."""
    return Reader(protocolError=InvalidResponse, replyError=ResponseError, notEnoughData=NOT_YET)


def check_fit(answer: Any) -> None:
    """Raise the answer where it says that Redis is there but can't work.

    Its connection is of no use any more: another one may lead to the Redis that took its place.
    """
    if isinstance(answer, ResponseError) and str(answer).startswith(UNFIT):
        raise answer


def unknown_scripts(answers: Sequence[Any]) -> list[int]:
    """Which commands named a script that Redis has not, or has no more."""
    return [
        i
        for i, answer in enumerate(answers)
        if isinstance(answer, ResponseError) and str(answer).startswith("NOSCRIPT")
    ]

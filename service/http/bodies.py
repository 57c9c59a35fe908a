"""Bodies of requests: how large one may be, and how much of all is held at a time."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLarge, TooBusy

COPIES = 3
"""Bytes that a byte of a body takes while read, rounded up: 2.0 of a picture, 2.1 of a form, 1.9 of JSON."""


class BodyLimit:
    """Refuses bodies beyond a number of bytes: declared ones at once, others when they grow past it.

    Reading a body raises `BodyTooLarge`, or what the connection has against the body.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0

        async def limited_receive() -> Message:
            nonlocal received
            if received == 0 and _declared_bytes(scope) > self._max_bytes:
                raise self._error()
            message = await receive()
            if refusal := scope["state"].get("refusal"):
                raise refusal
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise self._error()
            return message

        await self._app(scope, limited_receive, send)

    def _error(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"A request may have {self._max_bytes} bytes here, by STELLAR_MAX_BODY_BYTES and a third of "
            "STELLAR_BODY_MEMORY: send less at once."
        )


class Bodies:
    """What the bodies of all requests hold together, of a number of bytes.

    One body may take all that is left; of several bodies of one client together, no more than half of the
    whole, so that others go on.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._held = 0
        self._held_by: dict[str, int] = {}

    def ensure(self, more: int, client: str, own: int = 0) -> None:
        """Raise `TooBusy` where a request that holds `own` bytes can't have `more`."""
        held = self._held_by.get(client, 0)
        if self._held + more > self.max_bytes or (held > own and held + more > self.max_bytes // 2):
            raise TooBusy("Too many bodies are being read: try again soon, or send less at once.")

    def take(self, more: int, client: str, own: int = 0) -> None:
        """Hold `more` bytes. Raises `TooBusy`."""
        self.ensure(more, client, own)
        self._held += more
        self._held_by[client] = self._held_by.get(client, 0) + more

    def give_back(self, taken: int, client: str) -> None:
        """Hold so many less."""
        if not taken:
            return
        self._held -= taken
        left = self._held_by.pop(client) - taken
        if left:
            self._held_by[client] = left


class BodyMemory:
    """Has each body held from its first byte to the answer. Reading one raises `TooBusy`."""

    def __init__(self, app: ASGIApp, bodies: Bodies) -> None:
        self._app = app
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        taken = 0
        client = ""

        async def counted_receive() -> Message:
            nonlocal taken, client
            if taken == 0:
                client = scope["state"].get("client", "")
                declared = COPIES * _declared_bytes(scope)
                if declared <= self._bodies.max_bytes:  # else it is too large, whatever is held
                    self._bodies.ensure(declared, client)
            message = await receive()
            if body := message.get("body"):
                more = COPIES * len(body)
                self._bodies.take(more, client, taken)
                taken += more
            return message

        try:
            await self._app(scope, counted_receive, send)
        finally:
            self._bodies.give_back(taken, client)


def _declared_bytes(scope: Scope) -> int:
    """What Content-Length says; 0 where it is absent."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0

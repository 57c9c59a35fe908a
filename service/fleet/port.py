"""A worker's port: probes and metrics, answered beside whatever it is busy with, on one thread of its own."""

from __future__ import annotations

import asyncio
import json
import socket
from asyncio import StreamReader, StreamWriter
from http import HTTPStatus
from threading import Thread

from service.runtime.progress import Progress
from service.watch.metrics import Metrics, render

PROBES = ("/healthz/live", "/healthz/ready")
PATIENCE_S = 5.0
"""What a connection may take from its opening to its end."""
MAX_CONNECTIONS = 32
"""Of more, the oldest are closed: whoever asks is answered long before."""
MAX_HEAD_BYTES = 16 * 2**10
Answer = tuple[HTTPStatus, str, bytes]
"""Status, media type, body."""


class Port:
    """Open from the beginning, ready once the start is over."""

    def __init__(self, host: str, port: int, metrics: Metrics, progress: Progress) -> None:
        """Listen. Raises `OSError` where the port is taken."""
        self._metrics = metrics
        self._progress = progress
        self._open: dict[StreamWriter, None] = {}
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
        self._loop = asyncio.new_event_loop()
        self._closed = asyncio.Event()
        self._thread = Thread(target=self._run, args=(listening,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and end what is open."""
        self._loop.call_soon_threadsafe(self._closed.set)
        self._thread.join(PATIENCE_S)

    def _run(self, listening: socket.socket) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._listen(listening))

    async def _listen(self, listening: socket.socket) -> None:
        server = await asyncio.start_server(self._converse, sock=listening, limit=MAX_HEAD_BYTES)
        await self._closed.wait()
        server.close()

    async def _converse(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One request, one answer."""
        self._open[writer] = None
        if len(self._open) > MAX_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        try:
            async with asyncio.timeout(PATIENCE_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._written(head.decode("latin-1")))
                writer.close()
                await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self._open.pop(writer, None)

    def _written(self, head: str) -> bytes:
        """The bytes of an answer."""
        request, *headers = head.split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in headers)}
        method, _, rest = request.partition(" ")
        status, media_type, body = self._answer(method, rest.partition(" ")[0], fields.get("accept", ""))
        lines = (
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"content-type: {media_type}",
            f"content-length: {len(body)}",
            "connection: close",
        )
        return "\r\n".join((*lines, "", "")).encode() + (b"" if method == "HEAD" else body)

    def _answer(self, method: str, path: str, accept: str) -> Answer:
        if method not in ("GET", "HEAD"):
            return _told(HTTPStatus.METHOD_NOT_ALLOWED, detail="Send GET.")
        path = path.partition("?")[0]
        if path == "/metrics":
            text, media_type = render(self._metrics.registry, accept)
            return HTTPStatus.OK, media_type, text
        if path not in PROBES:
            return _told(HTTPStatus.NOT_FOUND, detail=f"There are /metrics, {' and '.join(PROBES)}.")
        reason = self._progress.reason if path == "/healthz/ready" else None
        if reason is not None:
            return _told(HTTPStatus.SERVICE_UNAVAILABLE, detail=reason)
        return _told(HTTPStatus.OK, status=path.removeprefix("/healthz/"))


def _told(status: HTTPStatus, /, **document: str) -> Answer:
    return status, "application/json", json.dumps(document).encode()

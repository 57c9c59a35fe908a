"""A worker's port: probes and metrics, answered beside whatever it is busy with."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from service.runtime.progress import Progress

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


class Port:
    """Open from the beginning, ready once the start is over."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry, progress: Progress) -> None:
        """Listen. Raises `OSError` where the port is taken."""
        self._metrics = make_wsgi_app(registry)
        self._progress = progress
        self._server = _Server((host, port), _Handler)
        self._server.set_app(self._answer)
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path not in ("/healthz/live", "/healthz/ready"):
            return self._metrics(environ, start_response)  # type: ignore[no-any-return]
        reason = self._progress.reason if path == "/healthz/ready" else None
        status = "200 OK" if reason is None else "503 Service Unavailable"
        told = {"status": path.removeprefix("/healthz/")} if reason is None else {"detail": reason}
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(told).encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Probes and scrapes are not worth a line each."""

"""What surrounds every request: its id, its metrics, its line in the log, its last resort."""

from __future__ import annotations

import asyncio
import errno
import random
import re
import time

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import InternalError, NotReady, ServiceError, TooBusy
from service.http.dialects import error_response
from service.watch.logs import logger
from service.watch.metrics import Metrics
from service.watch.tracing import ids

SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
NO_FILES = (errno.EMFILE, errno.ENFILE)
CLIENT_GONE = 499  # as nginx writes it: nobody is there to read a status
PROBE = re.compile(r"/metrics|/healthz/\w+|/v2/health/\w+|/v2/models/.+/ready")
"""What machines ask again and again is no traffic: it is not counted, and not logged while all is well."""


class RequestContext:
    """Gives every request an id, times and counts it, and answers what nothing else has caught."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        sent = _header(scope, b"x-request-id")
        request_id = sent if SAFE_ID.fullmatch(sent) else f"{random.getrandbits(128):032x}"
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        trace = self._metrics.trace()
        structlog.contextvars.bind_contextvars(request_id=request_id, **ids(trace))
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {
                    **message,
                    "headers": [*message["headers"], (b"x-request-id", request_id.encode())],
                }
            await send(message)

        async def refuse(error: ServiceError) -> None:
            if not status:
                scope["state"]["refused"] = error.code
                await error_response(scope["path"], error, request_id)(scope, receive, send_with_id)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            status = CLIENT_GONE
        except asyncio.CancelledError:
            # The server's time to stop is over; it cancels nothing else.
            await refuse(NotReady("The service stopped before it was done."))
        except Exception as error:
            if isinstance(error, OSError) and error.errno in NO_FILES:
                logger.warning("no_descriptors", path=scope["path"])
                await refuse(TooBusy("The service has as many files open as it may: try again soon."))
            else:
                logger.exception("unexpected_error", path=scope["path"])
                await refuse(InternalError())
        finally:
            self._record(scope, status or CLIENT_GONE, time.perf_counter() - started, trace)

    def _record(self, scope: Scope, status: int, duration_s: float, trace: str) -> None:
        probe = PROBE.fullmatch(scope["path"])
        if not probe:
            route = getattr(scope.get("route"), "path", "unknown")
            requests, request_duration = self._metrics.of_route(route, status)
            requests.inc()
            request_duration.observe(duration_s, ids(trace))
            if code := scope["state"].get("refused"):
                self._metrics.rejected.labels(code).inc()
        log = logger.debug if probe and status < 400 else logger.info
        log(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            duration_ms=round(1000 * duration_s, 2),
        )


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")

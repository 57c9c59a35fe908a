"""What surrounds every call: its key, its id, its metrics, its line in the log, and how errors are told."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

import grpc
import structlog
from opentelemetry.trace import INVALID_SPAN, Span, StatusCode

from service.errors import DeadlineExceeded, InternalError, NotReady, ServiceError, TooBusy, Unavailable
from service.http.auth import Keys
from service.http.middleware import CLIENT_GONE, SAFE_ID
from service.models.models import Models
from service.watch.logs import logger
from service.watch.metrics import Metrics
from service.watch.tracing import ids

T = TypeVar("T")

STATUSES = {
    200: grpc.StatusCode.OK,
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    CLIENT_GONE: grpc.StatusCode.CANCELLED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""What gRPC says for the statuses of `service/errors.py`."""
PEER = re.compile(r"ipv[46]:\[?(.*?)\]?:\d+")
STOPPED = "The service stopped before it was done."


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls."""

    context: Any
    """gRPC's."""
    client: str
    request_id: str

    @property
    def left_s(self) -> float:
        """What is left of the time that the client gives; infinite where it gives no limit."""
        left_s = self.context.time_remaining()
        return float("inf") if left_s is None else float(left_s)


class Calls:
    """All calls at work."""

    def __init__(self, keys: Keys, models: Models, metrics: Metrics, most: int) -> None:
        """`most` may be at work, of one client half of them; probes are beside these."""
        self._keys = keys
        self._models = models
        self._metrics = metrics
        self._most = most
        self._at_work: Counter[str] = Counter()
        self.tasks: set[asyncio.Task[Any]] = set()
        """Of calls that are no probes."""
        self._probes: set[asyncio.Task[Any]] = set()
        self._stopped = False

    def end(self) -> None:
        """Wait for none any longer."""
        self._stopped = True
        for task in self.tasks | self._probes:
            task.cancel()

    def at_end_waited_for(self) -> AbstractContextManager[None]:
        """While this lasts the task at work is waited for at the end."""
        return self._in(self.tasks)

    @staticmethod
    @contextmanager
    def _in(tasks: set[asyncio.Task[Any]]) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            yield
        finally:
            tasks.discard(task)

    async def work(
        self, context: Any, path: str, do: Callable[[Caller], Awaitable[T]], *, probe: bool = False
    ) -> T:
        """What `do` makes of a call that wants a key, and models that can serve."""

        async def visit() -> T:
            metadata = dict(context.invocation_metadata() or ())
            client = self._keys.client(
                _text(metadata, "authorization"), _text(metadata, "x-api-key"), _address(context.peer())
            )
            if self._models.refusal is not None:
                raise NotReady(self._models.refusal)
            if self._at_work.total() >= self._most or self._at_work[client] >= max(1, self._most // 2):
                raise TooBusy("All calls that may be at work are: try again soon.")
            self._at_work[client] += 1
            try:
                with nullcontext() if probe else self._models.visits.visit():
                    return await do(Caller(context=context, client=client, request_id=request_id))
            finally:
                self._at_work[client] -= 1
                if not self._at_work[client]:
                    del self._at_work[client]

        request_id = self.begin(context)
        return await self._told(context, path, request_id, visit, probe=probe)

    async def probe(self, context: Any, path: str, do: Callable[[], Awaitable[T]]) -> T:
        """The same for one that machines ask again and again, and that wants no key."""
        return await self._told(context, path, self.begin(context), do, probe=True)

    def begin(self, context: Any) -> str:
        """The id of a request, under which the log speaks of it."""
        sent = _text(dict(context.invocation_metadata() or ()), "x-request-id")
        request_id = sent if SAFE_ID.fullmatch(sent) else f"{random.getrandbits(128):032x}"
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        return request_id

    async def _told(
        self, context: Any, path: str, request_id: str, do: Callable[[], Awaitable[T]], *, probe: bool
    ) -> T:
        """The answer. An error ends the call, in gRPC's words and with our code."""
        with self._in(self._probes if probe else self.tasks):
            answer, error = await self.recorded(context, path, do, probe=probe)
        if error is None:
            assert answer is not None
            return answer
        await context.abort(
            STATUSES.get(error.status, grpc.StatusCode.INTERNAL),
            error.detail,
            (*context.trailing_metadata(), ("x-request-id", request_id), *told(error)),
        )
        raise AssertionError  # `abort` has raised

    async def recorded(
        self, context: Any, path: str, do: Callable[[], Awaitable[T]], *, probe: bool = False
    ) -> tuple[T | None, ServiceError | None]:
        """What `do` answers, or its error; counted, timed and logged."""
        if probe:
            return await self._recorded(context, path, do, probe, INVALID_SPAN)
        service, _, method = path[1:].partition("/")
        about = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        place = _text(dict(context.invocation_metadata() or ()), "traceparent")
        with self._metrics.span(path[1:], place, about) as span:
            structlog.contextvars.bind_contextvars(**ids(self._metrics.trace()))
            return await self._recorded(context, path, do, probe, span)

    async def _recorded(
        self, context: Any, path: str, do: Callable[[], Awaitable[T]], probe: bool, span: Span
    ) -> tuple[T | None, ServiceError | None]:
        started = time.perf_counter()
        error: ServiceError | None = None
        status = CLIENT_GONE
        try:
            answer = await do()
            status = 200
            return answer, None
        except ServiceError as refused:
            error = refused.with_traceback(None)  # which would keep the message until it is collected
        except asyncio.CancelledError:
            if not self._stopped:
                left_s = context.time_remaining()
                status = DeadlineExceeded.status if left_s is not None and left_s <= 0 else CLIENT_GONE
                raise
            error = NotReady(STOPPED)
        except Exception as unexpected:
            if isinstance(unexpected, grpc.aio.BaseError) and context.done():
                raise  # the client is gone
            logger.exception("unexpected_error", path=path)
            error = InternalError()
        finally:
            status = error.status if error else status
            span.set_attribute(
                "rpc.grpc.status_code", STATUSES.get(status, grpc.StatusCode.INTERNAL).value[0]
            )
            if status >= 500:
                span.set_status(StatusCode.ERROR)
            self._record(path, error, status, started, probe)
        return None, error

    def _record(
        self, path: str, error: ServiceError | None, status: int, started: float, probe: bool
    ) -> None:
        duration_s = time.perf_counter() - started
        if not probe:
            requests, request_duration = self._metrics.of_route(path, status)
            requests.inc()
            request_duration.observe(duration_s, ids(self._metrics.trace()))
            if error is not None:
                self._metrics.rejected.labels(error.code).inc()
        if error is not None and status >= 500 and not isinstance(error, Unavailable):
            logger.warning("failed", code=error.code, detail=error.detail)
        log = logger.debug if probe and status < 400 else logger.info
        log("request", method="gRPC", path=path, status=status, duration_ms=round(1000 * duration_s, 2))


def told(error: ServiceError) -> tuple[tuple[str, str], ...]:
    """What a program reads of an error; gRPC's clients heed when to try again."""
    code = ("x-stellar-code", error.code)
    if not isinstance(error, Unavailable):
        return (code,)
    return (code, ("grpc-retry-pushback-ms", str(1000 * error.retry_after_s)))


def _text(metadata: dict[str, Any], name: str) -> str:
    value = metadata.get(name, "")
    return value if isinstance(value, str) else ""


def _address(peer: str) -> str:
    """Whose connection it is, as gRPC writes it: ipv4:127.0.0.1:50312, ipv6:%5B::1%5D:50312."""
    found = PEER.fullmatch(unquote(peer))
    return found[1] if found else peer

"""Traces by OpenTelemetry, where asked for: one for a request, from its port through the queue to inference.

A request's place in its trace is a W3C `traceparent`: it comes in a header (gRPC's metadata), travels in the
entries of Redis, and is empty where nothing is traced. FastAPI brings OpenTelemetry's interface; what sends
spans is an extra.
"""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import AbstractContextManager
from importlib.metadata import version

from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

SAMPLED = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f][13579bdf]")
LAST_S = 5.0
"""What is left at the end has so long to be sent."""


def ids(trace: str) -> dict[str, str]:
    """The trace's id for logs and exemplars; nothing for a request that is not traced."""
    match = SAMPLED.fullmatch(trace)
    return {"trace_id": match[1]} if match else {}


class Tracing:
    """Makes spans and sends them by OTLP, where OpenTelemetry's own variables (`OTEL_…`) say."""

    def __init__(self, service: str) -> None:
        """`service` is what the process is called in traces unless OTEL_SERVICE_NAME says otherwise.

        Raises `ValueError` where the extra is not installed.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise ValueError(
                "tracing: its extra is not installed: pip install 'stellar-service[otel]'"
            ) from None
        name = os.environ.get("OTEL_SERVICE_NAME", service)
        about = {"service.name": name, "service.version": version("stellar-service")}
        self.provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self.provider.get_tracer("stellar")
        self._places = TraceContextTextMapPropagator()

    def current(self) -> str:
        """The place of the request at work; empty where it is not traced."""
        carrier: dict[str, str] = {}
        self._places.inject(carrier)
        trace = carrier.get("traceparent", "")
        return trace if ids(trace) else ""

    def serving(self, name: str, trace: str, about: dict[str, str]) -> AbstractContextManager[Span]:
        """A request's own span, current while it lasts; below the caller's place, if there is one."""
        return self._tracer.start_as_current_span(
            name,
            self._places.extract({"traceparent": trace}),
            kind=SpanKind.SERVER,
            attributes=about,
            record_exception=False,
            set_status_on_exception=False,
        )

    def record(
        self, name: str, trace: str, started: float, ended: float, attributes: dict[str, str | int]
    ) -> None:
        """A span that is over, below a request's; times are `time.monotonic()` instants."""
        to_epoch_ns = time.time_ns() - time.monotonic_ns()
        span = self._tracer.start_span(
            name,
            self._places.extract({"traceparent": trace}),
            start_time=to_epoch_ns + round(1e9 * started),
            attributes=attributes,
        )
        span.end(to_epoch_ns + round(1e9 * ended))

    def close(self) -> None:
        """Send what is left, unless the collector is away."""
        last = threading.Thread(target=self.provider.shutdown, daemon=True)
        last.start()
        last.join(LAST_S)

"""What Prometheus sees. Labels are bounded: routes by their template, statuses, models, stages, codes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Protocol

from opentelemetry.trace import INVALID_SPAN, Span
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from service.watch.tracing import Tracing, ids

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

About = dict[str, str | int]
"""What a span says of itself."""


class Model(Protocol):
    """What metrics tell of a model."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def precision(self) -> str: ...


class Metrics:
    """One application's metrics in a registry of its own, and the same events as spans where it is traced."""

    def __init__(self, tracing: Tracing | None = None) -> None:
        self._tracing = tracing
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, processor time and open files, under their usual names
        self.requests = Counter(
            "stellar_requests",
            "Requests answered, without probes and scrapes.",
            ["route", "status"],
            registry=registry,
        )
        self.request_duration = Histogram(
            "stellar_request_duration_seconds",
            "Time from a request's first byte to its answer's last.",
            ["route"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.stage_duration = Histogram(
            "stellar_stage_duration_seconds",
            "Time to decode, queue and transport an item, to infer a batch, and to write an answer.",
            ["stage"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        # To look a child up costs as much as to observe.
        self.of_route = cache(self._of_route)
        self._of_stage = cache(self.stage_duration.labels)
        self.batch_size = Histogram(
            "stellar_batch_size",
            "Items in a batch, without padding.",
            ["model", "stage"],
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self.queue_depth = Gauge(
            "stellar_queue_depth", "Items waiting for a stage.", ["model", "stage"], registry=registry
        )
        self.queue_lag = Gauge(
            "stellar_queue_lag",
            "Items in Redis that no worker has yet; every API process tells the same, or NaN without Redis.",
            ["model", "stage"],
            registry=registry,
        )
        self.workers = Gauge(
            "stellar_workers",
            "Live workers; every API process tells the same, or NaN without Redis.",
            ["model"],
            registry=registry,
        )
        self.redeliveries = Counter(
            "stellar_redeliveries",
            "Items given out again: their worker died, or Redis lost them.",
            registry=registry,
        )
        self.dead_letters = Counter(
            "stellar_dead_letters", "Items put aside: malformed, or no worker survived.", registry=registry
        )
        self.cache = Counter(
            "stellar_cache", "Lookups of results: hit, miss or merged.", ["result"], registry=registry
        )
        self.images = Counter(
            "stellar_images", "Items that went through a stage.", ["model", "stage"], registry=registry
        )
        self.rejected = Counter(
            "stellar_rejected", "Requests and items refused, by code.", ["reason"], registry=registry
        )
        self.rejected.labels("queue_full")  # an alert looks at it: its first growth must be one from 0
        self.model_info = Gauge(
            "stellar_model_info",
            "1 for every model that this process runs.",
            ["model", "version", "provider", "precision"],
            registry=registry,
        )

    def _of_route(self, route: str, status: int) -> tuple[Counter, Histogram]:
        """What counts and times the requests of a route that end so."""
        return self.requests.labels(route, str(status)), self.request_duration.labels(route)

    def show_models(self, models: Iterable[tuple[Model, str]]) -> None:
        """Say which models this process runs, and on which providers."""
        self.model_info.clear()
        for model, provider in models:
            self.model_info.labels(model.name, model.version, provider, model.precision).set(1)

    def forget_model(self, name: str) -> None:
        """A model is gone: its gauges go too, or they would raise alarms for ever."""
        for gauge in (self.queue_depth, self.queue_lag, self.workers):
            gauge.remove_by_labels({"model": name})

    def trace(self) -> str:
        """The place of the request at work in its trace; empty where it is not traced."""
        return "" if self._tracing is None else self._tracing.current()

    def span(self, name: str, trace: str, about: dict[str, str]) -> AbstractContextManager[Span]:
        """A request's own span while it is at work; one that is nothing where nothing is traced."""
        return (
            nullcontext(INVALID_SPAN) if self._tracing is None else self._tracing.serving(name, trace, about)
        )

    def stage(
        self, name: str, started: float, ended: float, traces: Sequence[str], **about: str | int
    ) -> None:
        """A stage that is over, for the requests at these places; times are `time.monotonic()` instants."""
        if self._tracing is None:
            self._of_stage(name).observe(ended - started)
            return
        traced = [trace for trace in traces if ids(trace)]
        self._of_stage(name).observe(ended - started, ids(traced[0]) if traced else None)
        attributes: About = {f"stellar.{key}": value for key, value in about.items()}
        for trace in traced:
            self._tracing.record(name, trace, started, ended, attributes)


def render(metrics: Collector, accept: str) -> tuple[bytes, str]:
    """The text that Prometheus scrapes, in the form that it accepts, and that form's media type.

    OpenMetrics has an example of a trace beside the latencies, where there are any.
    """
    encode, media_type = choose_encoder(accept)
    return encode(metrics), media_type

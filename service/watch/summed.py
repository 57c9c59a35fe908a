"""The metrics of several processes as those of one service."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

ALIKE: Mapping[str, Callable[[float, float], float]] = {
    "stellar_queue_lag": max,
    "stellar_workers": max,
    "stellar_model_info": max,
    "process_start_time_seconds": min,
}
"""Gauges of which processes tell the same, or that have no sum; all others are added."""


class Value(NamedTuple):
    """One number of a metric."""

    name: str
    labels: dict[str, str]
    value: float
    exemplar: Exemplar | None

    def plus(self, other: Value) -> Value:
        """This, and what another process tells of the same."""
        add = min if self.name.endswith("_created") else ALIKE.get(self.name, operator.add)
        known = [each.value for each in (self, other) if not math.isnan(each.value)]
        exemplars = [each.exemplar for each in (self, other) if each.exemplar is not None]
        return self._replace(
            value=add(*known) if len(known) == 2 else known[0] if known else math.nan,
            exemplar=max(exemplars, key=lambda exemplar: exemplar.timestamp or 0.0, default=None),
        )


class Family(NamedTuple):
    """A metric."""

    name: str
    documentation: str
    kind: str
    values: list[Value]


class Summed(Collector):
    """The metrics of a process, or of several together."""

    def __init__(self, families: Iterable[Family]) -> None:
        self.families = list(families)
        """As JSON can hold them."""

    @classmethod
    def of(cls, registry: CollectorRegistry) -> Summed:
        """What this process has to tell."""
        return cls(
            Family(
                metric.name,
                metric.documentation,
                metric.type,
                [Value(each.name, each.labels, each.value, each.exemplar) for each in metric.samples],
            )
            for metric in registry.collect()
        )

    @classmethod
    def read(cls, families: Iterable[Any]) -> Summed:
        """What another process has told, out of JSON."""
        return cls(
            Family(
                name,
                documentation,
                kind,
                [
                    Value(sample, labels, value, exemplar and Exemplar(*exemplar))
                    for sample, labels, value, exemplar in values
                ],
            )
            for name, documentation, kind, values in families
        )

    @classmethod
    def together(cls, parts: Iterable[Summed]) -> Summed:
        """All parts together."""
        about: dict[str, Family] = {}
        values: dict[str, dict[object, Value]] = {}
        for family in (family for part in parts for family in part.families):
            about.setdefault(family.name, family)
            known = values.setdefault(family.name, {})
            for value in family.values:
                key = value.name, *sorted(value.labels.items())
                known[key] = known[key].plus(value) if key in known else value
        return cls(about[name]._replace(values=list(known.values())) for name, known in values.items())

    def counts(self) -> Summed:
        """Those that never go back, as when the process that told them is gone."""
        return Summed(family for family in self.families if family.kind in ("counter", "histogram"))

    def collect(self) -> Iterator[Metric]:
        """For what writes the text that Prometheus reads."""
        for name, documentation, kind, values in self.families:
            metric = Metric(name, documentation, kind)
            for value in values:
                metric.add_sample(value.name, value.labels, value.value, exemplar=value.exemplar)
            yield metric

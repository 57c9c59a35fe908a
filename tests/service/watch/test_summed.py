"""Metrics of several processes are added as one service would have counted them."""

from __future__ import annotations

import json
import math

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics

from service.watch.metrics import Metrics, render
from service.watch.summed import Summed


def told(metrics: Metrics) -> Summed:
    """What a process tells, as it comes over its channel."""
    return Summed.read(json.loads(json.dumps(Summed.of(metrics.registry).families)))


def value(metrics: Summed, name: str, **labels: str) -> float:
    [found] = [
        sample.value
        for family in metrics.collect()
        for sample in family.samples
        if (sample.name, sample.labels) == (name, labels)
    ]
    return found


def test_counts_are_added_and_what_is_alike_is_not() -> None:
    one, two = Metrics(), Metrics()
    for metrics, count in ((one, 2), (two, 3)):
        for _ in range(count):
            metrics.of_route("/embed", 200)[0].inc()
            metrics.batch_size.labels("toy", "encode").observe(4)
        metrics.queue_depth.labels("toy", "encode").set(count)
        metrics.workers.labels("toy").set(7)
    two.of_route("/tokens", 200)[0].inc()
    both = Summed.together([told(one), told(two)])
    assert value(both, "stellar_requests_total", route="/embed", status="200") == 5
    assert value(both, "stellar_requests_total", route="/tokens", status="200") == 1
    assert value(both, "stellar_batch_size_bucket", model="toy", stage="encode", le="2.0") == 0
    assert value(both, "stellar_batch_size_bucket", model="toy", stage="encode", le="4.0") == 5
    assert value(both, "stellar_batch_size_sum", model="toy", stage="encode") == 20
    assert value(both, "stellar_queue_depth", model="toy", stage="encode") == 5
    assert value(both, "stellar_workers", model="toy") == 7
    created = "stellar_redeliveries_created"
    assert value(both, created) == min(value(told(one), created), value(told(two), created))


def test_what_one_can_not_tell_another_does() -> None:
    one, two = Metrics(), Metrics()
    one.workers.labels("toy").set(math.nan)
    assert math.isnan(value(Summed.together([told(one), told(one)]), "stellar_workers", model="toy"))
    two.workers.labels("toy").set(1)
    for parts in ([one, two], [two, one]):
        assert value(Summed.together(map(told, parts)), "stellar_workers", model="toy") == 1


def test_of_a_process_that_is_gone_its_counts_stay() -> None:
    metrics = Metrics()
    metrics.redeliveries.inc()
    metrics.queue_depth.labels("toy", "encode").set(5)
    kept = told(metrics).counts()
    assert value(kept, "stellar_redeliveries_total") == 1
    assert "stellar_queue_depth" not in {family.name for family in kept.families}


def test_the_last_example_is_kept_and_both_texts_can_be_read() -> None:
    one, two = Metrics(), Metrics()
    one.of_route("/embed", 200)[1].observe(0.2, {"trace_id": "first"})
    two.of_route("/embed", 200)[1].observe(0.2, {"trace_id": "last"})
    text, media_type = render(
        Summed.together([told(two), told(one)]), "application/openmetrics-text; version=1.0.0"
    )
    assert media_type.startswith("application/openmetrics-text")
    families: list[Metric] = list(open_metrics(text.decode()))  # type: ignore[no-untyped-call]
    examples = [each.exemplar for family in families for each in family.samples if each.exemplar]
    assert [example.labels for example in examples] == [{"trace_id": "last"}]
    assert b"stellar_requests_total" in render(Summed.together([told(one)]), "")[0]

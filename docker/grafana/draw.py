"""Write Grafana's two dashboards: `python docker/grafana/draw.py FOLDER` (`make dashboards`)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from grafana_foundation_sdk.builders import dashboard, prometheus, timeseries
from grafana_foundation_sdk.builders.common import VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, GridPos

SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
COLUMNS, HEIGHT = 2, 8
WIDTH = 24 // COLUMNS


class Panel(NamedTuple):
    """A diagram; `queries` are PromQL and the name of their lines."""

    title: str
    description: str
    unit: str
    queries: tuple[tuple[str, str], ...]


class Row(NamedTuple):
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


def rate(metric: str, by: str, labels: str = "") -> str:
    """How much a counter grows in a second."""
    return f"sum by ({by}) (rate({metric}{{{labels}}}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str) -> str:
    """A quantile of a histogram."""
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({metric}_bucket[$__rate_interval])))"


def ratio(part: str, whole: str) -> str:
    """A share; 0 where there is no part, nothing where there is no whole."""
    return f"(sum(rate({part}[$__rate_interval])) or vector(0)) / (sum(rate({whole}[$__rate_interval])) > 0)"


SERVICE = (
    Row(
        "Traffic",
        (
            Panel(
                "Requests",
                "Answers a second by route, whatever their status.",
                "reqps",
                ((rate("stellar_requests_total", "route"), "{{route}}"),),
            ),
            Panel(
                "Images",
                "Images a second that went through each stage of each model.",
                "ops",
                ((rate("stellar_images_total", "model, stage"), "{{model}} {{stage}}"),),
            ),
            Panel(
                "Errors",
                "Share of the answers that are errors of the service (5xx) and of its clients (4xx).",
                "percentunit",
                (
                    (ratio('stellar_requests_total{status=~"5.."}', "stellar_requests_total"), "5xx"),
                    (ratio('stellar_requests_total{status=~"4.."}', "stellar_requests_total"), "4xx"),
                ),
            ),
            Panel(
                "Refused",
                "Requests and items refused a second, by the code of the error.",
                "ops",
                ((rate("stellar_rejected_total", "reason"), "{{reason}}"),),
            ),
        ),
    ),
    Row(
        "Latency",
        (
            Panel(
                "Answers",
                "Time from a request's first byte to its answer's last: half of the answers take less than "
                "p50, 99 in 100 less than p99.",
                "s",
                tuple(
                    (
                        quantile(share, "stellar_request_duration_seconds", "route"),
                        f"p{share * 100:.0f} {{{{route}}}}",
                    )
                    for share in (0.5, 0.99)
                ),
            ),
            Panel(
                "Stages",
                "95 of 100 items take less than this to be decoded, queued, transported, inferred, written.",
                "s",
                ((quantile(0.95, "stellar_stage_duration_seconds", "stage"), "{{stage}}"),),
            ),
        ),
    ),
    Row(
        "Batching",
        (
            Panel(
                "Batch size",
                "Mean items in a batch, without padding. Larger batches use a device better.",
                "short",
                (
                    (
                        f"{rate('stellar_batch_size_sum', 'model, stage')} "
                        f"/ ({rate('stellar_batch_size_count', 'model, stage')} > 0)",
                        "{{model}} {{stage}}",
                    ),
                ),
            ),
            Panel(
                "Queue",
                "Items that wait in the processes for a stage.",
                "short",
                (("sum by (model, stage) (stellar_queue_depth)", "{{model}} {{stage}}"),),
            ),
            Panel(
                "Cache",
                "Lookups of results a second: found, not found, or joined to the same image at work.",
                "ops",
                ((rate("stellar_cache_total", "result"), "{{result}}"),),
            ),
            Panel(
                "Memory",
                "Memory that each process of the service holds.",
                "bytes",
                (('process_resident_memory_bytes{job=~"stellar-.+"}', "{{job}} {{instance}}"),),
            ),
        ),
    ),
)

FLEET = (
    Row(
        "Workers",
        (
            Panel(
                "Live workers",
                "Workers that said so lately. Every API process tells the same number.",
                "short",
                (("max by (model) (stellar_workers)", "{{model}}"),),
            ),
            Panel(
                "Waiting in Redis",
                "Items that no worker has yet. If it grows and stays, start more workers.",
                "short",
                (("max by (model, stage) (stellar_queue_lag)", "{{model}} {{stage}}"),),
            ),
            Panel(
                "Images by worker",
                "Images a second of each worker. All should do about the same.",
                "ops",
                ((rate("stellar_images_total", "instance", 'job="stellar-worker"'), "{{instance}}"),),
            ),
            Panel(
                "Inference",
                "Time that 95 of 100 batches take less than, by worker.",
                "s",
                (
                    (
                        "histogram_quantile(0.95, sum by (le, instance) (rate("
                        "stellar_stage_duration_seconds_bucket"
                        '{job="stellar-worker", stage="inference"}[$__rate_interval])))',
                        "{{instance}}",
                    ),
                ),
            ),
            Panel(
                "Given out again, put aside",
                "Items whose worker died or that Redis lost, and items that no worker survived, a second.",
                "ops",
                (
                    ("sum(rate(stellar_redeliveries_total[$__rate_interval]))", "given out again"),
                    ("sum(rate(stellar_dead_letters_total[$__rate_interval]))", "put aside"),
                ),
            ),
            Panel(
                "Devices",
                "Processes that run each model, by the device's provider and the precision.",
                "short",
                (
                    (
                        "count by (model, version, provider, precision) (stellar_model_info)",
                        "{{model}} {{provider}} {{precision}}",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "Redis",
        (
            Panel(
                "Memory",
                "What Redis holds, and the most that it may.",
                "bytes",
                (("redis_memory_used_bytes", "held"), ("redis_memory_max_bytes", "limit")),
            ),
            Panel(
                "Commands",
                "Commands a second, and connected clients.",
                "short",
                (
                    ("sum(rate(redis_commands_processed_total[$__rate_interval]))", "commands"),
                    ("sum(redis_connected_clients)", "clients"),
                ),
            ),
        ),
    ),
    Row(
        "GPUs",
        (
            Panel(
                "Use",
                "Share of the time in which the GPU computes. Low under load: small batches or a slow CPU.",
                "percent",
                (("max by (Hostname, gpu) (DCGM_FI_DEV_GPU_UTIL)", "{{Hostname}} {{gpu}}"),),
            ),
            Panel(
                "Memory",
                "Memory of the GPU in use.",
                "decmbytes",
                (("max by (Hostname, gpu) (DCGM_FI_DEV_FB_USED)", "{{Hostname}} {{gpu}}"),),
            ),
            Panel(
                "Temperature",
                "Hotter than 85 °C, GPUs slow down.",
                "celsius",
                (("max by (Hostname, gpu) (DCGM_FI_DEV_GPU_TEMP)", "{{Hostname}} {{gpu}}"),),
            ),
            Panel(
                "Power",
                "What the GPU draws.",
                "watt",
                (("max by (Hostname, gpu) (DCGM_FI_DEV_POWER_USAGE)", "{{Hostname}} {{gpu}}"),),
            ),
        ),
    ),
)

DASHBOARDS = {"service": ("STELLAR service", SERVICE), "fleet": ("STELLAR fleet", FLEET)}


def draw(name: str, title: str, rows: Iterable[Row]) -> str:
    """A dashboard as JSON."""
    board = dashboard.Dashboard(title).uid(f"stellar-{name}").tags(["stellar"]).readonly()
    board = board.refresh("10s").time("now-30m", "now").timezone("browser")
    top, number = 0, 0
    for row in rows:
        board = board.with_row(dashboard.Row(row.title))
        top += 1
        for place, panel in enumerate(row.panels):
            number += 1
            line, column = divmod(place, COLUMNS)
            position = GridPos(h=HEIGHT, w=WIDTH, x=column * WIDTH, y=top + line * HEIGHT)
            board = board.with_panel(_diagram(panel).id(number).grid_pos(position))
        top += -(-len(row.panels) // COLUMNS) * HEIGHT
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def _diagram(panel: Panel) -> timeseries.Panel:
    legend = (
        VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    tooltip = VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    diagram = timeseries.Panel().title(panel.title).description(panel.description).unit(panel.unit)
    diagram = diagram.datasource(SOURCE).min(0).fill_opacity(10).legend(legend).tooltip(tooltip)
    for letter, (expression, line) in zip("ABCD", panel.queries, strict=False):
        query = prometheus.Dataquery().expr(expression).legend_format(line).ref_id(letter)
        diagram = diagram.with_target(query.exemplar("_bucket" in expression))  # histograms name traces
    return diagram


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (title, rows) in DASHBOARDS.items():
        (folder / f"{name}.json").write_text(draw(name, title, rows))

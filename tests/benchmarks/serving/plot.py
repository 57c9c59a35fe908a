"""The results as pictures: throughput and latency over the number of clients, and a bar for each load."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import matplotlib
from cycler import cycler

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from tests.benchmarks.serving.campaign import Campaign
from tests.benchmarks.serving.contenders import BARE, BARES
from tests.benchmarks.serving.matrix import Cell
from tests.benchmarks.serving.measurement import Measurement

COLOURS = ["black", "gray"] + [
    f"tab:{name}" for name in ("blue", "green", "purple", "brown", "orange", "red", "pink", "olive", "cyan")
]


def draw_plots(campaign: Campaign) -> None:
    """Write `throughput.png` and `clients.png` beside the results."""
    style = {
        "figure.dpi": 110,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=COLOURS),
    }
    with pyplot.style.context(style):
        _draw_throughput(campaign)
        _draw_clients(campaign)


def _draw_throughput(campaign: Campaign) -> None:
    """Images/s as a share of the bare loop's, for each closed load."""
    cells = [cell for cell in campaign.cells if not cell.rate_share]
    figure, axes = pyplot.subplots(figsize=(10, 4.5), layout="constrained")
    servers = [server for server in campaign.servers if server != BARE]
    width = 0.8 / max(1, len(servers))
    for i, server in enumerate(servers):
        shares = [
            _median(campaign, cell, server, _rate) / _median(campaign, cell, BARE, _rate) for cell in cells
        ]
        axes.bar([x + i * width for x in range(len(cells))], shares, width, label=server)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_ylabel("images/s, of the bare loop's")
    middle = 0.4 - width / 2
    axes.set_xticks(
        [x + middle for x in range(len(cells))], [cell.title.replace(", ", "\n") for cell in cells]
    )
    axes.tick_params("x", labelsize=7)
    axes.legend(ncols=4, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    figure.savefig(campaign.out / "throughput.png")
    pyplot.close(figure)


def _draw_clients(campaign: Campaign) -> None:
    """Images/s and p99 over the number of clients, for the loads that differ in nothing else."""
    first = campaign.cells[0]
    cells = [
        cell
        for cell in campaign.cells
        if not cell.rate_share and (cell.model, cell.megapixels) == (first.model, first.megapixels)
    ]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for server in campaign.servers:
        _draw_line(left, campaign, cells, server, _rate)
        _draw_line(right, campaign, cells, server, lambda m: m.p99_ms)
    left.set_ylabel("images/s")
    right.set_ylabel("p99, ms")
    right.set_yscale("log")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks([cell.concurrency for cell in cells], [str(cell.concurrency) for cell in cells])
        axes.set_xlabel(f"clients at a time ({first.model}, {first.megapixels:g} megapixels)")
    right.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(campaign.out / "clients.png")
    pyplot.close(figure)


def _draw_line(
    axes: Axes, campaign: Campaign, cells: list[Cell], server: str, value: Callable[[Measurement], float]
) -> None:
    values = [_median(campaign, cell, server, value) for cell in cells]
    axes.plot(
        [cell.concurrency for cell in cells],
        values,
        marker="o",
        label=server,
        linestyle="--" if server in BARES else "-",
    )


def _rate(measurement: Measurement) -> float:
    return measurement.images_per_s


def _median(campaign: Campaign, cell: Cell, server: str, value: Callable[[Measurement], float]) -> float:
    """Over rounds; NaN where there are none, which is drawn as a gap."""
    rounds = campaign.results(cell, server)
    return statistics.median(map(value, rounds)) if rounds else float("nan")

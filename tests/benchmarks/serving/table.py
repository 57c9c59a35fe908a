"""The results as a table in Markdown: medians over rounds, and how far rounds were apart."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from tests.benchmarks.serving.campaign import Campaign
from tests.benchmarks.serving.contenders import BARE, BARES
from tests.benchmarks.serving.machine import describe_machine
from tests.benchmarks.serving.measurement import Measurement

HEAD = (
    "server",
    "images/s",
    "spread",
    "of bare",
    "of its CPU",
    "p50 ms",
    "p99 ms",
    "CPU ms/image",
    "client's CPU %",
    "peak MB",
    "start s",
    "failed",
)


def write_table(campaign: Campaign) -> str:
    """What it was made on, a section for each load, a line for each server."""
    windows = f"Medians over {campaign.rounds} rounds of {campaign.seconds:g} s."
    sections = [f"{describe_machine(campaign.servers, campaign.device)} {windows}"]
    for cell in campaign.cells:
        results = {server: campaign.results(cell, server) for server in campaign.servers}
        bare = results.get(BARE, [])
        lines = [_line(server, rounds, bare) for server, rounds in results.items() if rounds]
        if lines:
            sections.append("\n".join([f"**{cell.title}**\n", row(HEAD), row(["---"] * len(HEAD)), *lines]))
    return "\n\n".join(sections) + "\n"


def _line(server: str, rounds: Sequence[Measurement], bare: Sequence[Measurement]) -> str:
    def median(value: Callable[[Measurement], float], digits: int) -> str:
        return f"{_median(rounds, value):.{digits}f}"

    def of_bare(one: Callable[[Measurement], float], other: Callable[[Measurement], float]) -> str:
        """The median of `one` over that of `other` of the bare loop."""
        beside = _median(bare, other)
        return f"{statistics.median(map(one, rounds)) / beside:.2f}" if beside else "–"

    rates = [each.images_per_s for each in rounds]
    return row(
        [
            server,
            f"{statistics.median(rates):.1f}",
            f"{min(rates):.1f}–{max(rates):.1f}",
            of_bare(lambda m: m.images_per_s, lambda m: m.images_per_s),
            of_bare(lambda m: 1 / m.cpu_ms_per_image, lambda m: 1 / m.cpu_ms_per_image),
            median(lambda m: m.p50_ms, 1),
            median(lambda m: m.p99_ms, 1),
            median(lambda m: m.cpu_ms_per_image, 2),
            median(lambda m: 100 * m.client_cpu_s / m.seconds, 0),
            f"{max(each.peak_mb for each in rounds):.0f}",
            "–" if server in BARES else median(lambda m: m.start_s, 1),
            str(sum(each.failed for each in rounds)),
        ]
    )


def _median(rounds: Sequence[Measurement], value: Callable[[Measurement], float]) -> float | None:
    return statistics.median(map(value, rounds)) if rounds else None


def row(cells: Sequence[str]) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"

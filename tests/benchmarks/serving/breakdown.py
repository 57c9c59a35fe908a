"""What a picture costs as a table in Markdown: by process, and beside its decoding."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from tests.benchmarks.serving.campaign import Campaign
from tests.benchmarks.serving.machine import describe_machine
from tests.benchmarks.serving.measurement import Measurement
from tests.benchmarks.serving.table import row

DECODING = "decoding"
"""The row that the others are compared with."""
PARTS = ("api", "engine", "worker", "redis", "other")
HEAD = ("", "images/s", "spread", *PARTS, "in all", "least", "around decoding", "least", "failed")
RATIO_HEAD = ("today / baseline", "images/s", "CPU in all", "CPU around decoding")

Results = Mapping[str, Sequence[Measurement]]
"""By server, or by server@commit: what there is, one a round."""


def write_breakdown(campaign: Campaign) -> str:
    """What it was made on, a line for each server, and the ratios where there is a baseline."""
    [cell] = campaign.cells
    results = {server: campaign.results(cell, server) for server in campaign.servers}
    sections = [
        f"{describe_machine(campaign.servers, campaign.device)} {cell.title}. Medians over {campaign.rounds} "
        f"rounds of {campaign.seconds:g} s; processor time in ms a picture, of all processes of a kind "
        f"together. What is around decoding is all but the row {DECODING}, in the same rounds.",
        _table(HEAD, [_line(server, results) for server in results]),
    ]
    pairs = [(name.partition("@")[0], name) for name in results if "@" in name]
    if pairs:
        sections.append(_table(RATIO_HEAD, [_ratios(today, before, results) for today, before in pairs]))
    return "\n\n".join(sections) + "\n"


def around_ms(server: str, results: Results) -> list[float]:
    """Of each round: what the processes took beyond decoding by the same code, in ms a picture."""
    _, at, commit = server.partition("@")
    rounds = zip(results[server], results[f"{DECODING}{at}{commit}"], strict=True)
    return [all_of_it.cpu_ms_per_image - decoding.cpu_ms_per_image for all_of_it, decoding in rounds]


def _line(server: str, results: Results) -> str:
    rounds = results[server]
    rates = [each.images_per_s for each in rounds]
    parts = [
        statistics.median(1000 * each.cpu_s_by_part.get(part, 0.0) / max(1, each.answered) for each in rounds)
        for part in PARTS
    ]
    costs = [each.cpu_ms_per_image for each in rounds]
    around = around_ms(server, results)
    return row(
        [
            server,
            f"{statistics.median(rates):.0f}",
            f"{min(rates):.0f}–{max(rates):.0f}",
            *(f"{part:.2f}" for part in parts),
            *(f"{value:.2f}" for each in (costs, around) for value in (statistics.median(each), min(each))),
            str(sum(each.failed for each in rounds)),
        ]
    )


def _ratios(today: str, before: str, results: Results) -> str:
    """Medians of today's over those of the baseline; of decoding there is nothing around."""
    names = (today, before)
    rates = [statistics.median(each.images_per_s for each in results[name]) for name in names]
    costs = [statistics.median(each.cpu_ms_per_image for each in results[name]) for name in names]
    around = [statistics.median(around_ms(name, results)) for name in names]
    ratios = [f"{one / other:.2f}" if other else "–" for one, other in (rates, costs, around)]
    return row([today, *ratios])


def _table(head: Sequence[str], lines: Sequence[str]) -> str:
    return "\n".join([row(head), row(["---"] * len(head)), *lines])

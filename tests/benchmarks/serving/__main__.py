"""One command: measure, print the table, leave it and the plots beside the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tests.benchmarks.serving.bundles import TINY
from tests.benchmarks.serving.campaign import Campaign, window_s
from tests.benchmarks.serving.contenders import BARES, CONTENDERS
from tests.benchmarks.serving.matrix import FULL, QUICK, Cell
from tests.benchmarks.serving.plot import draw_plots
from tests.benchmarks.serving.table import write_table

MINUTES, QUICK_MINUTES = 40.0, 10.0


def main(
    out: Annotated[
        Path, typer.Option(help="Folder of results; what is there for the same seconds is kept.")
    ] = Path("work/benchmark"),
    servers: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(
        [*BARES, *CONTENDERS]
    ),
    quick: Annotated[bool, typer.Option("--quick", help="Four loads in ten minutes.")] = False,
    minutes: Annotated[
        float | None, typer.Option(help="How long it may take in all.", show_default="40; 10 if quick")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Of each window, in place of minutes.")] = None,
    rounds: int = 3,
    concurrency: Annotated[
        str | None, typer.Option(help="Closed loops of so many clients, in place of the usual loads.")
    ] = None,
    pictures: Annotated[str, typer.Option(help="Megapixels, for these.")] = "0.1",
    model: Annotated[str, typer.Option(help="For these: stellar-tiny or a preset.")] = TINY,
    device: Annotated[str, typer.Option(help="cpu, cuda or tensorrt.")] = "cpu",
) -> None:
    """Compare servers on this machine, which should do nothing else meanwhile."""
    cells: Sequence[Cell] = QUICK if quick else FULL
    if concurrency:
        cells = [
            Cell(model=model, megapixels=float(size), concurrency=int(clients))
            for size in pictures.split(",")
            for clients in concurrency.split(",")
        ]
    names = servers.split(",")
    minutes = minutes or (QUICK_MINUTES if quick else MINUTES)
    campaign = Campaign(
        out=out,
        servers=names,
        cells=cells,
        rounds=rounds,
        seconds=seconds or window_s(minutes, rounds=rounds, cells=cells, servers=names),
        device=device,
    )
    campaign.run()
    table = write_table(campaign)
    (out / "table.md").write_text(table)
    draw_plots(campaign)
    print(table)


if __name__ == "__main__":
    typer.run(main)

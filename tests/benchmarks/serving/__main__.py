"""One command: measure, print the table, keep it in the folder of results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tests.benchmarks.serving.bundles import TINY
from tests.benchmarks.serving.campaign import Campaign
from tests.benchmarks.serving.contenders import BARE, CONTENDERS
from tests.benchmarks.serving.matrix import Cell
from tests.benchmarks.serving.table import write_table


def main(
    out: Annotated[Path, typer.Option(help="Results; what is there is not measured again.")] = Path(
        "work/benchmark"
    ),
    servers: str = ",".join([*CONTENDERS, BARE]),
    model: str = TINY,
    pictures: Annotated[str, typer.Option(help="Megapixels.")] = "0.1",
    concurrency: str = "1,8,32",
    rounds: int = 3,
    seconds: float = 5.0,
    device: str = "cpu",
) -> None:
    """Compare servers on this machine."""
    cells = [
        Cell(model=model, megapixels=float(size), concurrency=int(clients))
        for size in pictures.split(",")
        for clients in concurrency.split(",")
    ]
    campaign = Campaign(
        out=out, servers=servers.split(","), cells=cells, rounds=rounds, seconds=seconds, device=device
    )
    campaign.run()
    table = write_table(campaign)
    (out / "table.md").write_text(table)
    print(table)


if __name__ == "__main__":
    typer.run(main)

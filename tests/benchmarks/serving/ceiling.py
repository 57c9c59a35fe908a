"""What stands around the model: the service with a model that costs nothing. `make benchmark-ceiling`.

The limit is decoding alone; what the processes take beyond it is what Python, HTTP and Redis cost a picture.
An older commit runs beside today's code where one is named, the two in turn.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from tests.benchmarks.serving.breakdown import DECODING, write_breakdown
from tests.benchmarks.serving.campaign import WARM_S, Campaign
from tests.benchmarks.serving.commits import checked_out
from tests.benchmarks.serving.contenders import (
    BARES,
    CONTENDERS,
    HERE,
    ROOT,
    SERVICE,
    Bare,
    Contender,
    fleet,
    ours,
)
from tests.benchmarks.serving.free import FREE
from tests.benchmarks.serving.matrix import Cell

AS_GPU = (sys.executable, "-P", str(HERE / "as_gpu.py"))
ROWS = ("local", "processes-2", "redis", "redis-2", "mosec", "litserve", "triton")
PROCESSES = (2, 3, 4)
MEGAPIXELS, PICTURES = 0.14, 4
"""Of 34 kB on average."""


def main(
    out: Annotated[Path, typer.Option(help="Folder of the table and of logs.")] = Path(
        "work/benchmark/ceiling"
    ),
    rows: Annotated[
        str,
        typer.Option(
            help="local, processes-2 to -4 (that share an engine), redis, redis-2 (two API processes), and "
            "servers of the other benchmark."
        ),
    ] = ",".join(ROWS),
    baseline: Annotated[str | None, typer.Option(help="A commit to compare with.")] = None,
    rounds: int = 3,
    seconds: Annotated[float, typer.Option(help="Of each window.")] = 3.0,
    concurrency: Annotated[int, typer.Option(help="Clients, who each wait for an answer.")] = 32,
    gpu: Annotated[
        bool, typer.Option(help="Take the processor for a GPU: batches, decoded in the pool; or not.")
    ] = True,
) -> None:
    """Measure what a picture costs beside its model; the machine should do nothing else meanwhile."""
    cell = Cell(model=FREE, megapixels=MEGAPIXELS, concurrency=concurrency, pictures=PICTURES)
    shutil.rmtree(out / cell.name, ignore_errors=True)  # the code may be another since
    with ExitStack() as stack:
        commits = {"": ROOT}
        if baseline:
            commits[f"@{baseline}"] = stack.enter_context(checked_out(baseline))
        contenders = dict(_contenders(commits, AS_GPU if gpu else SERVICE))
        names = [name for row in (DECODING, *rows.split(",")) for name in contenders if _row(name) == row]
        campaign = Campaign(
            out=out,
            servers=names,
            cells=[cell],
            rounds=rounds,
            seconds=seconds,
            warm_s=min(WARM_S, seconds),
            contenders=contenders,
        )
        campaign.run()
    table = write_breakdown(campaign)
    (out / "table.md").write_text(table)
    print(table)


def _contenders(
    commits: Mapping[str, Path], service: tuple[str, ...]
) -> Iterator[tuple[str, Contender | Bare]]:
    """All rows of all commits, then what has no other: bare loops, peers."""
    for suffix, code in commits.items():
        decoding = Bare(command=(sys.executable, "-P", str(HERE / "decoding.py")), threads=1, code=code)
        yield f"{DECODING}{suffix}", decoding
        yield f"local{suffix}", ours(service=service, code=code)
        for count in PROCESSES if (code / "service" / "processes").exists() else ():
            yield f"processes-{count}{suffix}", ours(processes=count, service=service, code=code)
        yield f"redis{suffix}", fleet(service=service, code=code)
        yield f"redis-2{suffix}", fleet(apis=2, service=service, code=code)
    yield from BARES.items()
    yield from CONTENDERS.items()


def _row(name: str) -> str:
    return name.partition("@")[0]


if __name__ == "__main__":
    typer.run(main)

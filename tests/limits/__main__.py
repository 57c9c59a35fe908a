"""Attack a service that runs as it is shipped, and print what became of it: `make limits`."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.limits.attacks import Attack, attacks
from tests.limits.victim import CONTAINER_BYTES, Harm, victim

WIDTH = 180
LONGEST_STOP_S, LONGEST_WAIT_S = 0.1, 2.0
BODY_FACTOR, BODY_BYTES = 3, 50 * 10**6
"""Memory that bodies may take beyond themselves: so many times their size, and so much more."""


def main(
    only: Annotated[str, typer.Option(help="Attacks whose name has this: a regular expression.")] = "",
    size: Annotated[float, typer.Option(help="Bodies and counts, times this.")] = 1.0,
) -> None:
    """Attack a service that runs as it is shipped, and print what became of it; 1 where a goal is missed."""
    table = Table(
        "what is sent",
        "MB above rest",
        "longest stop (probe), ms, of probes",
        "answers",
        "neighbour: right, wrong, slowest s",
    )
    missed, console = [], Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder, victim(Path(folder)) as server:
        chosen = [attack for attack in attacks(size) if re.search(only, attack.name)]
        for attack in track(chosen, "attacking", console=console):
            harm, answers = server.suffer(attack.run)
            if reasons := goals_missed(attack, harm):
                missed.append(f"{attack.name}: {', '.join(reasons)}")
            table.add_row(
                attack.name,
                f"{harm.extra_bytes / 1e6:.0f}",
                f"{1000 * harm.longest_stop_s:.0f} ({1000 * harm.longest_probe_s:.0f}) of {harm.probes}",
                ", ".join(f"{answer} ×{count}" for answer, count in answers.items()),
                f"{harm.right}, {len(harm.wrong)}, {harm.slowest_s:.2f}",
            )
    Console(width=WIDTH).print(table)
    for line in missed:
        print(line)
    raise typer.Exit(1 if missed else 0)


def goals_missed(
    attack: Attack,
    harm: Harm,
    *,
    longest_stop_s: float = LONGEST_STOP_S,
    longest_wait_s: float = LONGEST_WAIT_S,
) -> list[str]:
    """What was worse than it may be."""
    most = BODY_FACTOR * attack.in_flight_bytes + attack.in_flight_bytes + BODY_BYTES
    return [
        reason
        for reason, wrong in {
            "the loop stopped": harm.longest_stop_s > longest_stop_s,
            "too much memory": harm.peak_bytes > CONTAINER_BYTES
            or ("pictures" not in attack.name and harm.extra_bytes > most),
            "a neighbour waited": harm.slowest_s > longest_wait_s,
            "a neighbour was refused": bool(harm.wrong) or not harm.right,
        }.items()
        if wrong
    ]


if __name__ == "__main__":
    typer.run(main)

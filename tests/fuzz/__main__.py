"""Fuzz targets, one after the other: `python -m tests.fuzz picture --seconds 60`; all of them: `make fuzz`.

The fuzzer is Atheris, which mutates what has reached new lines of ours. What fails is left in the folder,
with its trace printed, and the exit code is not 0; `--again FILE` runs such a file alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import atheris
import typer

with atheris.instrument_imports(include=["service"]):
    from tests.fuzz.targets import TARGETS
from tests.fuzz.corpus import write_corpus

MAX_BYTES = 1 << 16
LONGEST_S = 10
MOST_MB = 3000
SLOW, SLOWER = ("picture", "request"), 5


def main(
    targets: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(TARGETS)}; none: all.")] = None,
    folder: Annotated[Path, typer.Option(help="Where inputs are kept, to go on with.")] = Path("work/fuzz"),
    seconds: Annotated[int, typer.Option(help="How long each; 0: until `runs` are over.")] = 0,
    runs: Annotated[
        int,
        typer.Option(
            help=f"How many inputs of each, a fifth of {' and '.join(SLOW)}; 0: until the time is over."
        ),
    ] = 0,
    again: Annotated[Path | None, typer.Option(help="An input to run alone.", exists=True)] = None,
    seed: Annotated[int, typer.Option(help="Of the random numbers; 0: another each time.")] = 0,
) -> None:
    """Feed targets random inputs; the exit code is not 0 where one fails."""
    asked = targets or list(TARGETS)
    if again is not None:
        for target in asked:
            TARGETS[target](again.read_bytes())
        return
    options = [
        f"-max_len={MAX_BYTES}",
        f"-timeout={LONGEST_S}",
        f"-rss_limit_mb={MOST_MB}",
        "-print_final_stats=1",
        *([f"-max_total_time={seconds}"] if seconds else []),
        *([f"-seed={seed}"] if seed else []),
    ]
    failed = [target for target in asked if not passes(target, folder, [*options, *_limit(target, runs)])]
    if failed:
        sys.exit(f"failed: {' '.join(failed)}")


def passes(target: str, folder: Path, options: list[str]) -> bool:
    """Whether a target is fuzzed to the end without a failure.

    In a process of its own, because the fuzzer ends the one that it runs in; forked, because to instrument
    what is imported takes seconds.
    """
    child = os.fork()
    if not child:
        corpus = folder / target
        if not corpus.exists():
            write_corpus(target, corpus)
        options = [*options, f"-artifact_prefix={folder}/{target}-", str(corpus)]
        atheris.Setup([sys.argv[0], *options], TARGETS[target])
        atheris.Fuzz()
    return os.waitpid(child, 0)[1] == 0


def _limit(target: str, runs: int) -> list[str]:
    return [f"-runs={runs // SLOWER if target in SLOW else runs}"] if runs else []


if __name__ == "__main__":
    typer.run(main)

"""Fuzz a target: `python -m tests.fuzz picture --seconds 60`; all of them, and longer: `make fuzz`.

The fuzzer is Atheris, which mutates what has reached new lines of ours. What fails is left in the folder,
with its trace printed, and the exit code is not 0; `--again FILE` runs such a file alone.
"""

from __future__ import annotations

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


def main(
    target: Annotated[str, typer.Argument(help=f"One of {', '.join(TARGETS)}.")],
    folder: Annotated[Path, typer.Option(help="Where inputs are kept, to go on with.")] = Path("work/fuzz"),
    seconds: Annotated[int, typer.Option(help="How long; 0: until `runs` are over.")] = 0,
    runs: Annotated[int, typer.Option(help="How many inputs; 0: until the time is over.")] = 0,
    again: Annotated[Path | None, typer.Option(help="An input to run alone.", exists=True)] = None,
    seed: Annotated[int, typer.Option(help="Of the random numbers; 0: another each time.")] = 0,
) -> None:
    """Feed a target random inputs; the exit code is not 0 where one fails."""
    if again is not None:
        TARGETS[target](again.read_bytes())
        return
    corpus = folder / target
    if not corpus.exists():
        write_corpus(target, corpus)
    options = [
        f"-max_len={MAX_BYTES}",
        f"-timeout={LONGEST_S}",
        f"-rss_limit_mb={MOST_MB}",
        f"-artifact_prefix={folder}/{target}-",
        "-print_final_stats=1",
        *([f"-max_total_time={seconds}"] if seconds else []),
        *([f"-runs={runs}"] if runs else []),
        *([f"-seed={seed}"] if seed else []),
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    typer.run(main)

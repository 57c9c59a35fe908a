"""The least that a picture costs: decoding alone, a thread for each processor. Prints what `load.py` does.

It runs on its own, so that it can time the decoder of an older commit, whose benchmarks are others: it takes
`service` from PYTHONPATH, and of the arguments those that it needs.
"""

from __future__ import annotations

import json
import os
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import service

SIDE, MAX_PIXELS = 224, 50_000_000


def decoder() -> Any:
    """The function `decode_image`, where this commit or an older one has it."""
    older = Path(service.__file__).with_name("images.py").exists()
    return import_module("service.images" if older else "service.tokens.pictures").decode_image


def main(
    pictures: list[Path],
    seconds: float = 5.0,
    warm_s: float = 1.0,
    concurrency: Annotated[int, typer.Option(help="As load.py has it; threads are as processors.")] = 1,
) -> None:
    """Decode pictures in turn, again and again."""
    decode = decoder()
    jpegs = [picture.read_bytes() for picture in pictures]
    begin = time.perf_counter() + warm_s
    end = begin + seconds
    latencies: list[float] = []

    def work() -> None:
        turn = 0
        while (started := time.perf_counter()) < end:
            decode(jpegs[turn % len(jpegs)], SIDE, "crop", MAX_PIXELS)
            turn += 1
            if begin <= (ended := time.perf_counter()) < end:
                latencies.append(ended - started)

    threads = [threading.Thread(target=work) for _ in os.sched_getaffinity(0)]
    for thread in threads:
        thread.start()
    for instant, what in ((begin, "begin"), (end, "end")):
        time.sleep(max(0.0, instant - time.perf_counter()))
        print(what, flush=True)
    for thread in threads:
        thread.join()
    ordered = sorted(latencies)
    print(
        json.dumps(
            {
                "seconds": seconds,
                "answered": len(ordered),
                "failed": 0,
                "p50_ms": 1000 * ordered[len(ordered) // 2],
                "p99_ms": 1000 * ordered[len(ordered) * 99 // 100],
                "client_cpu_s": 0.0,
            }
        )
    )


if __name__ == "__main__":
    typer.run(main)

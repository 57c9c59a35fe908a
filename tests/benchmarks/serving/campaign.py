"""All rounds of all cells on all servers; what is measured already is not measured again."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from rich.progress import track

from tests.benchmarks.serving.bundles import bundle_folder
from tests.benchmarks.serving.contenders import (
    BARE,
    BARES,
    CONTENDERS,
    FLEETS,
    Bare,
    Contender,
    Place,
    environment,
    module,
)
from tests.benchmarks.serving.matrix import Cell
from tests.benchmarks.serving.measurement import Measurement
from tests.benchmarks.serving.pictures import write_picture
from tests.benchmarks.serving.processes import MemoryWatch, Processes
from tests.benchmarks.serving.readiness import check_answer, wait_for_answer
from tests.service.fleet.cluster import free_port

WARM_S = 1.0
AROUND_S = 1.5
"""What comes to each window: the load generator's start and end."""
START_S = 6.0
"""What a server's start and end take, roughly."""
SHORTEST_S = 2.0


def window_s(minutes: float, *, rounds: int, cells: Sequence[Cell], servers: Sequence[str]) -> float:
    """Seconds that each window may take where all is to fit into so many minutes."""
    starts_s = START_S * len({cell.model for cell in cells}) * len(servers)
    each_s = (60 * minutes / rounds - starts_s) / (len(cells) * len(servers))
    return max(SHORTEST_S, round(each_s - WARM_S - AROUND_S, 1))


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What is measured, for how long, and the folder of its results."""

    out: Path
    servers: Sequence[str]
    cells: Sequence[Cell]
    rounds: int
    seconds: float
    device: str = "cpu"
    warm_s: float = WARM_S
    contenders: Mapping[str, Contender | Bare] = field(
        default_factory=lambda: {**BARES, **CONTENDERS, **FLEETS}
    )

    def run(self) -> None:
        """Measure what is missing. A server runs alone and takes all its cells; then comes the next one.

        The bare loop goes first in each round: open loops take their rate from it.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        steps = list(self._missing())
        for server, cells, turn in track(steps, "measuring", disable=not sys.stderr.isatty()):
            self._serve(server, cells, turn)

    def _missing(self) -> Iterator[tuple[str, Sequence[Cell], int]]:
        """Servers, the cells that each of them is to take at a time, and the round."""
        models = list(dict.fromkeys(cell.model for cell in self.cells))
        for turn in range(self.rounds):
            for model in models:
                for server in sorted(self.servers, key=lambda name: name != BARE):
                    missing = [
                        cell
                        for cell in self.cells
                        if cell.model == model and not self._measured(cell, server, turn)
                    ]
                    if missing:
                        yield server, missing, turn

    def results(self, cell: Cell, server: str) -> list[Measurement]:
        """What there is, one a round."""
        rounds = (self._measured(cell, server, turn) for turn in range(self.rounds))
        return [measurement for measurement in rounds if measurement]

    def _measured(self, cell: Cell, server: str, turn: int) -> Measurement | None:
        """What was measured already, in a window as long."""
        file = self._file(cell, server, turn)
        if file.exists():
            measurement = Measurement.model_validate_json(file.read_bytes())
            if math.isclose(measurement.seconds, self.seconds, rel_tol=1e-3):
                return measurement
        return None

    def _file(self, cell: Cell, server: str, turn: int) -> Path:
        return self.out / cell.name / f"{server}-{turn}.json"

    def _serve(self, server: str, cells: Sequence[Cell], turn: int) -> None:
        contender = self.contenders[server]
        bundle = bundle_folder(
            cells[0].model, self.out, "fp32" if isinstance(contender, Bare) else contender.precision
        )
        place = Place(bundle, self.device, free_port(), free_port())
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STELLAR_")}
        kept["PYTHONPATH"] = str(contender.code)
        log = self.out / f"{server}.log"
        if isinstance(contender, Bare):
            for cell in cells:
                command = [*contender.command, *self._load(cell)]
                own = environment(place, contender.threads)
                with Processes(command, kept | own, log, folder=contender.code, piped=True) as loop:
                    self._keep(cell, server, turn, _observed(loop.root, loop))
            return
        own = contender.environment(place)
        with Processes(contender.command(place), kept | own, log, folder=contender.code) as processes:
            ports = (place.port, place.second_port)[: contender.apis]
            start_s = 0.0
            for port, picture in product(ports, self._pictures(cells[0])):
                jpeg = picture.read_bytes()
                passed_s, answer = wait_for_answer(processes, contender.path, port, jpeg)
                check_answer(answer, place, jpeg)
                start_s += passed_s
            target = (*(f"--port={port}" for port in ports), f"--path={contender.path}")
            for cell in cells:
                command = [*module("load"), *target, *self._load(cell)]
                with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
                    measurement = _observed(load, processes)
                self._keep(cell, server, turn, measurement.model_copy(update={"start_s": start_s}))

    def _pictures(self, cell: Cell) -> list[Path]:
        folder = (self.out / "pictures").absolute()
        return [write_picture(folder, cell.megapixels, first) for first in range(cell.pictures)]

    def _load(self, cell: Cell) -> list[str]:
        """The arguments that the load generator and the bare loop share."""
        arguments = [
            *map(str, self._pictures(cell)),
            f"--seconds={self.seconds}",
            f"--warm-s={self.warm_s}",
        ]
        if cell.rate_share is None:
            return [*arguments, f"--concurrency={cell.concurrency}"]
        closed = self.results(cell.closed, BARE)
        if not closed:
            raise ValueError(
                f"{cell.name} takes its rate from {BARE}, which was not measured at {cell.closed.name}"
            )
        made = statistics.median(each.images_per_s for each in closed)
        return [*arguments, f"--rate={cell.rate_share * made}"]

    def _keep(self, cell: Cell, server: str, turn: int, measurement: Measurement) -> None:
        file = self._file(cell, server, turn)
        file.parent.mkdir(exist_ok=True)
        file.write_text(measurement.model_dump_json(indent=1))
        print(f"round {turn}: {cell.name}: {server}: {measurement.images_per_s:.1f} images/s", flush=True)


def _observed(driver: subprocess.Popen[str], processes: Processes) -> Measurement:
    """The measurement that `driver` prints, with what `processes` took in its window.

    Raises `RuntimeError` where it prints none.
    """
    assert driver.stdout is not None
    cpu_s: list[dict[str, float]] = []
    with MemoryWatch(processes) as memory:
        for line in driver.stdout:
            if line.strip() in ("begin", "end"):
                cpu_s.append(processes.cpu_s())
            elif line.startswith("{"):
                measured = Measurement.model_validate_json(line)
                break
        else:
            raise RuntimeError(f"{driver.args!r} ended without a measurement")
    spent = {part: until - cpu_s[0].get(part, 0.0) for part, until in cpu_s[1].items()}
    return measured.model_copy(
        update={"cpu_s": sum(spent.values()), "cpu_s_by_part": spent, "peak_mb": memory.peak_mb}
    )

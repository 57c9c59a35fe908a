"""All rounds of all cells on all servers; what is measured already is not measured again."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.benchmarks.serving.bundles import bundle_folder
from tests.benchmarks.serving.contenders import BARE, CONTENDERS, Place, environment, module
from tests.benchmarks.serving.matrix import Cell
from tests.benchmarks.serving.measurement import Measurement
from tests.benchmarks.serving.pictures import write_picture
from tests.benchmarks.serving.processes import MemoryWatch, Processes

START_TIMEOUT_S = 120.0
WARM_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What is measured, for how long, and the folder of its results."""

    out: Path
    servers: Sequence[str]
    cells: Sequence[Cell]
    rounds: int
    seconds: float
    device: str = "cpu"

    def run(self) -> None:
        """Measure what is missing. A server runs alone and takes all its cells; then comes the next one.

        The bare loop goes first in each round: open loops take their rate from it.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        models = list(dict.fromkeys(cell.model for cell in self.cells))
        for turn in range(self.rounds):
            for model in models:
                for server in sorted(self.servers, key=lambda name: name != BARE):
                    missing = [
                        cell
                        for cell in self.cells
                        if cell.model == model and not self._file(cell, server, turn).exists()
                    ]
                    if missing:
                        self._serve(server, missing, turn)

    def results(self, cell: Cell, server: str) -> list[Measurement]:
        """What there is, one a round."""
        files = (self._file(cell, server, turn) for turn in range(self.rounds))
        return [Measurement.model_validate_json(file.read_bytes()) for file in files if file.exists()]

    def _file(self, cell: Cell, server: str, turn: int) -> Path:
        return self.out / cell.name / f"{server}-{turn}.json"

    def _serve(self, server: str, cells: Sequence[Cell], turn: int) -> None:
        place = Place(bundle_folder(cells[0].model, self.out), self.device, _free_port())
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STELLAR_")}
        log = self.out / f"{server}.log"
        if server == BARE:
            for cell in cells:
                command = [*module("bare"), *self._load(cell)]
                with Processes(command, kept | environment(place), log, piped=True) as loop:
                    self._keep(cell, server, turn, _observed(loop.root, loop))
            return
        contender = CONTENDERS[server]
        with Processes(contender.command(place), kept | contender.environment(place), log) as processes:
            picture = write_picture(self.out / "pictures", cells[0].megapixels)
            start_s = _wait_for_answer(processes, contender.path, place.port, picture)
            target = (f"--port={place.port}", f"--path={contender.path}")
            for cell in cells:
                command = [*module("load"), *target, *self._load(cell)]
                with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
                    measurement = _observed(load, processes)
                self._keep(cell, server, turn, measurement.model_copy(update={"start_s": start_s}))

    def _load(self, cell: Cell) -> list[str]:
        """The arguments that the load generator and the bare loop share."""
        arguments = [
            str(write_picture(self.out / "pictures", cell.megapixels)),
            f"--seconds={self.seconds}",
            f"--warm-s={WARM_S}",
        ]
        if cell.rate_share is None:
            return [*arguments, f"--concurrency={cell.concurrency}"]
        made = statistics.median(each.images_per_s for each in self.results(cell.closed, BARE))
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
    cpu_s: list[float] = []
    with MemoryWatch(processes) as memory:
        for line in driver.stdout:
            if line.strip() in ("begin", "end"):
                cpu_s.append(processes.cpu_s())
            elif line.startswith("{"):
                measured = Measurement.model_validate_json(line)
                break
        else:
            raise RuntimeError(f"{driver.args!r} ended without a measurement")
    return measured.model_copy(update={"cpu_s": cpu_s[1] - cpu_s[0], "peak_mb": memory.peak_mb})


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _wait_for_answer(processes: Processes, path: str, port: int, picture: Path) -> float:
    """Seconds from now until a picture is answered. Raises `RuntimeError` where that never happens."""
    started = time.perf_counter()
    jpeg = picture.read_bytes()
    while (passed := time.perf_counter() - started) < START_TIMEOUT_S and processes.root.poll() is None:
        try:
            answer = httpx.post(
                f"http://127.0.0.1:{port}{path}",
                content=jpeg,
                headers={"content-type": "image/jpeg"},
                timeout=START_TIMEOUT_S,
            )
            if answer.status_code == 200:
                return time.perf_counter() - started
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise RuntimeError(f"{processes.root.args!r} gave no answer in {passed:.0f} s; its log tells more")

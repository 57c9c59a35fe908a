"""An early look at what a run is worth: its losses on held-out pictures, always on the same views of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import torch

from training.config import RunConfig
from training.data.held_out import LEAST
from training.data.pictures import PictureBatch, picture_batches
from training.data.streams import FolderStream, Stream, open_stream
from training.losses.named import Losses
from training.run.best import Best
from training.run.processes import Processes
from training.run.report import keep_before

VALIDATION_FILE = "validation.jsonl"


class Validation:
    """Held-out pictures, and what their losses were so far, by the number of steps that were done."""

    def __init__(self, run: RunConfig, processes: Processes) -> None:
        """Read this process's share of the pictures.

        Raises `ValueError` where there are none.
        """
        self.run, self.processes = run, processes
        self.batches = self._read()
        self.path: Path | None = None
        self.best: Best | None = None
        self.looked = set[int]()

    def open(self, folder: Path, step: int) -> None:
        """Go on in a run's folder; lines of steps after `step`, which will be done again, are dropped.

        Raises `ValueError` for a damaged line.
        """
        self.path = folder / VALIDATION_FILE
        lines = keep_before(self.path, step + 1) if self.processes.first else []
        self.looked = {line["step"] for line in self.processes.gather(lines)[0]}
        self.best = Best(self.run, folder, self.processes)

    @property
    def told(self) -> str:
        """A line on how what was the best before is judged, where that is new."""
        return self.best.told if self.best is not None else ""

    def due(self, step: int) -> bool:
        """Whether to look after so many steps: before the first, after the last, and in between."""
        config = self.run.training
        return step not in self.looked and (step % config.validate_every == 0 or step == config.steps)

    @torch.no_grad()
    def measure(self, losses_of: Callable[[int, PictureBatch], Losses]) -> dict[str, float]:
        """The mean of each loss, the total first; `losses_of` is told where the draws of a batch start."""
        sums: torch.Tensor | None = None
        for number, batch in enumerate(self.batches):
            losses = losses_of(number, batch)
            values = torch.stack([losses.total, *losses.named.values()]).double()
            sums, names = values if sums is None else sums + values, ("loss", *losses.named)
        assert sums is not None
        means = self.processes.mean(sums / len(self.batches)).tolist()
        return dict(zip(names, means, strict=True))

    def add(self, step: int, figures: dict[str, float]) -> None:
        """Write a line of figures."""
        self.looked.add(step)
        if self.processes.first:
            assert self.path is not None
            values = {name: value if math.isfinite(value) else None for name, value in figures.items()}
            with self.path.open("a") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")

    def _read(self) -> list[PictureBatch]:
        """Nearly equal batches, each no larger than a step's, since targets are balanced within a batch, save
        that each has the fewest pictures that losses compare.
        """
        config, world_size = self.run.training, self.processes.world_size
        stream, count = self._open_stream(1), config.held_out_pictures
        if isinstance(stream, FolderStream):
            count = min(count, len(stream.paths))
        if count < LEAST * world_size:
            raise ValueError(f"held_out: expected {LEAST} pictures or more for each process, got {count}")
        most = max(config.batch_size, LEAST)
        number = min(math.ceil(count / (most * world_size)), count // (LEAST * world_size))
        size = min(count // (number * world_size), most)
        stream = self._open_stream(size)
        read = picture_batches(stream, batch_size=size, size=config.picture_size, workers=config.workers)
        batches = [next(read) for _ in range(number)]
        read.close()
        return batches

    def _open_stream(self, batch_size: int) -> Stream:
        try:
            return open_stream(
                self.run.held_out or self.run.pictures,
                seed=0,
                batch_size=batch_size,
                rank=self.processes.rank,
                world_size=self.processes.world_size,
                held_out_share=self.run.training.held_out_share,
                held_out=True,
            )
        except ValueError as error:
            raise ValueError(f"held_out: {error}") from error

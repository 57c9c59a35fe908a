"""What a run tells: a line of metrics in a file, figures for trackers, and progress on the terminal."""

from __future__ import annotations

import json
import math
import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.config import RunConfig
from training.run.trackers import Ended, Trackers

METRICS_FILE = "metrics.jsonl"


class Report:
    """Writes `metrics.jsonl` and tells trackers; shows a bar on a terminal, plain lines elsewhere."""

    def __init__(self, run: RunConfig, folder: Path | None, *, first_step: int, batch_size: int) -> None:
        """Lines of steps from `first_step` on, left by a run that was cut off, are dropped.

        Without a folder nothing is told, as by all processes but the first. `batch_size` is a step's.
        Raises `ValueError` for a damaged line, and for damaged names of tracked runs.
        """
        self.steps, self.batch_size = run.training.steps, batch_size
        self.console = Console(highlight=False, quiet=folder is None)
        self.bar = Progress(
            TextColumn("step"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[line]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("steps", total=self.steps, completed=first_step, line="")
        self.last_step, self.last_time = first_step, time.monotonic()
        self.file, self.trackers = None, None
        if folder is not None:
            path = folder / METRICS_FILE
            keep_before(path, first_step)
            self.trackers = Trackers(run, folder, first_step, self.say)
            self.file = path.open("a", buffering=1)

    def __enter__(self) -> Report:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        if self.file is not None and self.trackers is not None:
            self.file.close()
            ended: Ended = "finished" if self.last_step >= self.steps else "stopped"
            self.trackers.finish(ended if kind is None else "failed")

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Report metrics after step `step` (counted from 0), with the speed since the last report."""
        if self.file is None or self.trackers is None:
            return
        now = time.monotonic()
        done = step + 1 - self.last_step
        seconds = max(now - self.last_time, 1e-9) / done
        self.last_step, self.last_time = step + 1, now
        images_per_second = self.batch_size / seconds
        # JSON has no NaN and no infinity.
        values = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        line = {"step": step, **values, "images_per_second": round(images_per_second, 1)}
        self.file.write(json.dumps(line, allow_nan=False) + "\n")
        self.trackers.log(step, metrics | {"images_per_second": images_per_second})
        summary = f"loss {metrics['loss']:.4f} · {images_per_second:.1f} images/s"
        self.bar.update(self.task, completed=step + 1, line=summary)
        if not self.console.is_terminal:
            left = timedelta(seconds=round(seconds * (self.steps - step - 1)))
            self.say(f"step {step + 1}/{self.steps} · {summary} · {left} left")

    def held_out(self, step: int, figures: dict[str, float], best: bool) -> None:
        """Report figures of held-out pictures after so many steps."""
        if self.trackers is not None:
            self.trackers.log(step, {f"held_out/{name}": value for name, value in figures.items()})
        named = " · ".join(f"{name} {value:.4f}" for name, value in figures.items())
        self.say(f"step {step}/{self.steps} · held out: {named}{' · the best so far' * best}")

    def say(self, message: str) -> None:
        """Print one line."""
        self.console.print(message, soft_wrap=True, markup=False)


def keep_before(path: Path, first_step: int) -> list[dict[str, Any]]:
    """Drop the lines of a file from a step on, and tell what the others say.

    Raises `ValueError` for a line that tells of no step.
    """
    if not path.exists():
        return []
    # Only a last line can be cut off, and it belongs to a step that is done again.
    whole = path.read_text(errors="replace").split("\n")[:-1]
    kept = []
    for number, line in enumerate(whole, 1):
        try:
            content = json.loads(line)
            if int(content["step"]) < first_step:
                kept.append((line, content))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: line {number} is damaged: take the line out, or move the file away, and go on"
            ) from error
    path.write_text("".join(f"{line}\n" for line, _ in kept))
    return [content for _, content in kept]

"""What a run tells: a line of metrics in a file, and progress on the terminal."""

from __future__ import annotations

import json
import math
import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

METRICS_FILE = "metrics.jsonl"


class Report:
    """Writes `metrics.jsonl` and shows progress: a bar on a terminal, plain lines elsewhere."""

    def __init__(self, folder: Path, *, first_step: int, steps: int, batch_size: int) -> None:
        """Lines of steps from `first_step` on, left by a run that was cut off, are dropped."""
        self.path = folder / METRICS_FILE
        self.steps, self.batch_size = steps, batch_size
        self.console = Console(highlight=False)
        self.bar = Progress(
            TextColumn("step"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[line]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("steps", total=steps, completed=first_step, line="")
        self.last_step, self.last_time = first_step, time.monotonic()
        _keep_before(self.path, first_step)
        self.file = self.path.open("a", buffering=1)

    def __enter__(self) -> Report:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        self.file.close()

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Report metrics after step `step` (counted from 0), with the speed since the last report."""
        now = time.monotonic()
        done = step + 1 - self.last_step
        seconds = max(now - self.last_time, 1e-9) / done
        self.last_step, self.last_time = step + 1, now
        images_per_second = self.batch_size / seconds
        # JSON has no NaN and no infinity.
        values = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        line = {"step": step, **values, "images_per_second": round(images_per_second, 1)}
        self.file.write(json.dumps(line, allow_nan=False) + "\n")
        summary = f"loss {metrics['loss']:.4f} · {images_per_second:.1f} images/s"
        self.bar.update(self.task, completed=step + 1, line=summary)
        if not self.console.is_terminal:
            left = timedelta(seconds=round(seconds * (self.steps - step - 1)))
            self.say(f"step {step + 1}/{self.steps} · {summary} · {left} left")

    def say(self, message: str) -> None:
        """Print one line."""
        self.console.print(message, soft_wrap=True, markup=False)


def _keep_before(path: Path, first_step: int) -> None:
    if not path.exists():
        return
    lines = path.read_text().splitlines(keepends=True)
    # Only a last line can be cut off, and it belongs to a step that is done again.
    whole = [line for line in lines if line.endswith("\n")]
    path.write_text("".join(line for line in whole if json.loads(line)["step"] < first_step))

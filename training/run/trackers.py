"""Experiment trackers: each shows a run's figures, goes on with it where it goes on, and can't end it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal, Protocol, runtime_checkable

from training.config import RunConfig, TrackerName
from training.config_file import flat

IDS_FILE = "trackers.json"
"""What each tracker calls the run."""
EVENTS_FOLDER = "tensorboard"
PROJECT = "stellar"
LAST_WAIT_S = 60.0
"""How long the end of a run waits for what a tracker has not taken yet."""
MOST_AT_ONCE = 100
"""Parameters that MLflow takes in one call."""

Ended = Literal["finished", "stopped", "failed"]


@runtime_checkable
class Tracker(Protocol):
    """A run as one tracker has it. Any method may raise anything."""

    id: str
    """What the tracker calls it."""

    def log(self, step: int, figures: dict[str, float]) -> None: ...

    def finish(self, ended: Ended, /) -> None: ...


class TensorBoard:
    """Event files in the run's folder; those of steps that are done again are not shown."""

    id = EVENTS_FOLDER

    def __init__(self, folder: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.events = SummaryWriter(folder / EVENTS_FOLDER, purge_step=first_step)

    def log(self, step: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self.events.add_scalar(name, value, step)

    def finish(self, _ended: Ended) -> None:
        self.events.close()


class MLflow:
    """A run of the experiment `stellar`, where MLflow's variables say, or in a database where one is."""

    def __init__(self, folder: Path, settings: dict[str, Any], known: str | None) -> None:
        # Its own would have a run wait for a server that is away for several minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self.metric, self.client = Metric, MlflowClient()
        if known is not None:
            self.id = known
            self.client.update_run(known, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self.client.get_experiment_by_name(name)
        experiment = found.experiment_id if found is not None else self.client.create_experiment(name)
        self.id = self.client.create_run(experiment, run_name=folder.name).info.run_id
        parameters = [Param(name, str(value)) for name, value in settings.items()]
        for first in range(0, len(parameters), MOST_AT_ONCE):
            self.client.log_batch(self.id, params=parameters[first : first + MOST_AT_ONCE])

    def log(self, step: int, figures: dict[str, float]) -> None:
        now = round(time.time() * 1000)
        self.client.log_batch(
            self.id, [self.metric(name, value, now, step) for name, value in figures.items()]
        )

    def finish(self, ended: Ended) -> None:
        status = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}[ended]
        self.client.set_terminated(self.id, status)


class Wandb:
    """A run of the project `stellar`, where W&B's variables say; offline, in the run's folder."""

    def __init__(self, folder: Path, settings: dict[str, Any], known: str | None) -> None:
        import wandb

        quiet = wandb.Settings(silent=True, console="off")
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        self.run = wandb.init(
            project=project,
            name=folder.name,
            id=known,
            resume="allow",
            config=settings,
            dir=folder,
            settings=quiet,
        )
        self.id = self.run.id
        self.run.define_metric("*", step_metric="step")  # its own step may not go back after a crash

    def log(self, step: int, figures: dict[str, float]) -> None:
        self.run.log({"step": step, **figures})

    def finish(self, ended: Ended) -> None:
        self.run.finish(exit_code=0 if ended == "finished" else 1)


class Trackers:
    """The trackers of a run. One that fails is left out for the rest of the start, which is said.

    Each has a thread of its own: a server that is slow or away delays no step.
    """

    def __init__(self, run: RunConfig, folder: Path, first_step: int, say: Callable[[str], None]) -> None:
        """Raises `ValueError` where the folder's names of runs are damaged."""
        self.say, self.channels = say, list[Channel]()
        path = folder / IDS_FILE
        ids = _read_ids(path)
        makers: dict[TrackerName, Callable[[], Tracker]] = {
            "tensorboard": lambda: TensorBoard(folder, first_step),
            "mlflow": lambda: MLflow(folder, flat(run), ids.get("mlflow")),
            "wandb": lambda: Wandb(folder, flat(run), ids.get("wandb")),
        }
        for name in dict.fromkeys(run.training.trackers):
            try:
                tracker = makers[name]()
            except Exception as error:  # it raises whatever its library and its server do
                self.say(f"{name}: {_line(error)}: the run goes on without it")
                continue
            self.channels.append(Channel(name, tracker, say))
            ids[name] = tracker.id
        remote = {name: known for name, known in ids.items() if name != "tensorboard"}
        if remote:
            path.write_text(json.dumps(remote, indent=1) + "\n")

    def log(self, step: int, figures: dict[str, float]) -> None:
        """Show figures of a step."""
        for channel in self.channels:
            channel.queue.put((step, figures))

    def finish(self, ended: Ended) -> None:
        """Wait for what trackers have not taken yet, at most a minute for each."""
        for channel in self.channels:
            channel.finish(ended)


class Channel:
    """A tracker, and the thread that takes figures to it."""

    def __init__(self, name: str, tracker: Tracker, say: Callable[[str], None]) -> None:
        self.name, self.tracker, self.say = name, tracker, say
        self.queue = SimpleQueue[tuple[int, dict[str, float]] | Ended]()
        self.failed = ""
        self.thread = Thread(target=self._take, name=f"tracker {name}", daemon=True)
        self.thread.start()

    def finish(self, ended: Ended) -> None:
        self.queue.put(ended)
        self.thread.join(LAST_WAIT_S)
        if self.thread.is_alive():
            self.failed = f"not all figures were taken in {LAST_WAIT_S:.0f} s"
        if self.failed:
            self.say(f"{self.name} lacks figures: {self.failed}; metrics.jsonl has all")

    def _take(self) -> None:
        while True:
            item = self.queue.get()
            try:
                if isinstance(item, str):
                    self.tracker.finish(item)
                elif not self.failed:
                    self.tracker.log(*item)
            except Exception as error:  # it raises whatever its library and its server do
                if not self.failed:
                    self.failed = _line(error)
                    self.say(f"{self.name}: {self.failed}: the run goes on without it")
            if isinstance(item, str):
                return


def expect_installed(names: tuple[TrackerName, ...]) -> None:
    """Raise `ValueError` where a tracker's library is not there."""
    for name in names:
        spec = find_spec(name)
        if spec is None or spec.origin is None:  # a folder of this name, as W&B makes one
            raise ValueError(
                f"trackers: {name} is not installed; expected it (pip install 'stellar-service[{name}]'), or "
                "training.trackers without it"
            )


def _read_ids(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        return {str(name): str(known) for name, known in json.loads(path.read_text()).items()}
    except (AttributeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: move it away, and trackers begin runs anew") from error


def _line(error: Exception) -> str:
    """The first line that an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]

"""Real trackers, without internet: what they show of a run, and what becomes of a run where they fail."""

from __future__ import annotations

import json
import math
import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.config import TrackerName
from training.config_file import preset_run
from training.run.trackers import Ended, Trackers, expect_installed

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

pytestmark = pytest.mark.filterwarnings("ignore")  # the trackers' own


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    return path


def tracked(folder: Path, *names: TrackerName, first_step: int = 0, ended: Ended = "finished") -> list[str]:
    """Three steps of a run with these trackers, and what was said."""
    folder.mkdir(exist_ok=True)
    run = preset_run("debug", {"pictures": "pictures", "training": {"trackers": names}})
    said: list[str] = []
    trackers = Trackers(run, folder, first_step, said.append)
    for step in range(first_step, first_step + 3):
        trackers.log(step, {"loss": step / 2, "koleo": math.nan})
    trackers.finish(ended)
    return said


def mlflow() -> MlflowClient:
    """Loaded only now: that takes seconds, and every worker collects this file."""
    from mlflow import MlflowClient

    return MlflowClient()


def only_run() -> Run:
    client = mlflow()
    (experiment,) = (found for found in client.search_experiments() if found.name == "stellar")
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def test_mlflow_has_settings_and_figures_and_a_run_goes_on_in_its_own(database: Path, tmp_path: Path) -> None:
    assert tracked(tmp_path / "run", "mlflow", ended="stopped") == []
    run = only_run()
    assert (run.info.run_name, run.info.status) == ("run", "KILLED")
    assert (run.data.params["training.losses.koleo"], run.data.params["model.width"]) == ("0.1", "64")
    assert tracked(tmp_path / "run", "mlflow", first_step=3) == []
    run = only_run()
    assert run.info.status == "FINISHED"
    history = mlflow().get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(step, step / 2) for step in range(6)]
    assert math.isnan(run.data.metrics["koleo"])


def test_w_and_b_has_figures_in_the_folder_and_a_run_goes_on_in_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "run"
    assert tracked(folder, "wandb") == []
    assert tracked(folder, "wandb", first_step=3, ended="stopped") == []
    known = json.loads((folder / "trackers.json").read_text())["wandb"]
    parts = {path for path in (folder / "wandb").iterdir() if path.name.startswith("offline-run-")}
    # offline-run-TIME-ID, and a number where there was one in the same second.
    assert {path.name.split("-")[3] for path in parts} == {known}
    wanted = {b"0.5", b"2.5", b"NaN", b"training.losses.koleo"}
    while wanted:  # W&B's own process may write on after the end, and the test's time is limited
        content = b"".join(path.read_bytes() for path in folder.glob("wandb/offline-run-*/*.wandb"))
        wanted = {value for value in wanted if value not in content}
        time.sleep(0.05)


def test_a_tracker_that_is_away_is_said_and_the_others_have_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (said,) = tracked(tmp_path / "run", "mlflow", "tensorboard")
    assert said.startswith("mlflow: ")
    assert said.endswith(": the run goes on without it")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(0, 0.0), (1, 0.5), (2, 1.0)]


def test_a_tracker_that_fails_on_the_way_is_said_then_and_at_the_end(database: Path, tmp_path: Path) -> None:
    said: list[str] = []
    run = preset_run("debug", {"pictures": "pictures", "training": {"trackers": ["mlflow"]}})
    trackers = Trackers(run, tmp_path, 0, said.append)
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TABLE latest_metrics")
    trackers.log(0, {"loss": 1.0})
    trackers.log(1, {"loss": 1.0})
    trackers.finish("finished")
    first, last = said
    assert first.startswith("mlflow: ")
    assert first.endswith("no such table: latest_metrics: the run goes on without it")
    assert last.startswith("mlflow lacks figures: ")
    assert last.endswith("; metrics.jsonl has all")


def test_a_tracker_that_is_not_installed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though a folder has its name, as W&B's own has."""
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ValueError, match=r"trackers: wandb is not installed; .*'stellar-service\[wandb\]'"):
        expect_installed(("wandb",))


def test_damaged_names_of_tracked_runs_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "trackers.json").write_text('["mlflow"]')
    with pytest.raises(ValueError, match=r"trackers\.json is damaged: move it away"):
        tracked(tmp_path, "tensorboard")

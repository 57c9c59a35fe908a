"""The metrics file and the plain lines of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.config_file import preset_run
from training.run.report import Report


def report_in(folder: Path | None, *, first_step: int, steps: int, batch_size: int) -> Report:
    run = preset_run("debug", {"pictures": "pictures", "training": {"steps": steps}})
    return Report(run, folder, first_step=first_step, batch_size=batch_size)


def test_metrics_are_one_json_object_a_line(tmp_path: Path) -> None:
    with report_in(tmp_path, first_step=0, steps=3, batch_size=4) as report:
        report.log(0, {"loss": 2.0, "koleo": 0.5})
        report.log(2, {"loss": 1.0, "koleo": 0.25})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"], line["koleo"]) for line in lines] == [(0, 2.0, 0.5), (2, 1.0, 0.25)]
    assert all(line["images_per_second"] > 0 for line in lines)


def test_lines_after_the_last_checkpoint_are_dropped_on_resume(tmp_path: Path) -> None:
    whole = "".join(json.dumps({"step": step, "loss": 1.0}) + "\n" for step in range(6))
    (tmp_path / "metrics.jsonl").write_text(whole + '{"step": 6, "lo')
    with report_in(tmp_path, first_step=4, steps=8, batch_size=1) as report:
        report.log(4, {"loss": 0.5})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 3, 4]
    assert lines[-1]["loss"] == 0.5


def test_curves_are_there_for_tensorboard(tmp_path: Path) -> None:
    with report_in(tmp_path, first_step=0, steps=3, batch_size=4) as report:
        report.log(0, {"loss": 2.0})
        report.log(2, {"loss": 1.0})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(0, 2.0), (2, 1.0)]


def test_without_a_folder_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with report_in(None, first_step=0, steps=3, batch_size=4) as report:
        report.log(0, {"loss": 2.0})
    assert capsys.readouterr().out == ""


def test_without_a_terminal_progress_is_plain_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with report_in(tmp_path, first_step=0, steps=3, batch_size=4) as report:
        report.log(1, {"loss": 2.0})
    printed = capsys.readouterr().out
    assert printed.startswith("step 2/3 · loss 2.0000 · ")
    assert "images/s" in printed
    assert "\x1b" not in printed

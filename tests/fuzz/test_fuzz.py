"""Every target, for a moment: what is found here is found again by whoever starts with the same seed."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.corpus import write_corpus
from tests.fuzz.targets import TARGETS

SLOW = ("picture", "request")
RUNS = {SLOW: 200, tuple(name for name in TARGETS if name not in SLOW): 1000}


@pytest.mark.parametrize("target", TARGETS)
def test_sound_inputs_pass(target: str, tmp_path: Path) -> None:
    write_corpus(target, tmp_path / target)
    inputs = list((tmp_path / target).iterdir())
    assert inputs
    for each in inputs:
        TARGETS[target](each.read_bytes())


@pytest.mark.skipif(find_spec("atheris") is None, reason="Atheris has no wheel for this platform")
@pytest.mark.parametrize(("targets", "runs"), RUNS.items())
def test_no_target_fails_within_a_few_inputs(targets: tuple[str, ...], runs: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", *targets, "--folder", str(tmp_path)]
    ended = subprocess.run(
        [*command, "--runs", str(runs), "--seed", "1"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stderr.count("number_of_executed_units:") == len(targets)

"""Every target, for a moment: what is found here is found again by whoever starts with the same seed."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.corpus import write_corpus
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_sound_inputs_pass(target: str, tmp_path: Path) -> None:
    write_corpus(target, tmp_path / target)
    inputs = list((tmp_path / target).iterdir())
    assert inputs
    for each in inputs:
        TARGETS[target](each.read_bytes())


@pytest.mark.skipif(find_spec("atheris") is None, reason="Atheris has no wheel for this platform")
def test_no_target_fails_within_a_few_inputs(tmp_path: Path) -> None:
    """In one process, for it takes seconds to instrument what is imported."""
    command = [sys.executable, "-m", "tests.fuzz", "--folder", str(tmp_path), "--runs", "1000"]
    ended = subprocess.run([*command, "--seed", "1"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    runs = sorted(map(int, re.findall(r"number_of_executed_units: *(\d+)", ended.stderr)))
    assert len(runs) == len(TARGETS)
    assert runs[0] >= 200
    assert runs[2] >= 1000  # all but the two slow ones

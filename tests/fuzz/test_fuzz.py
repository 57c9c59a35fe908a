"""Every target, for a moment: what is found here is found again by whoever starts with the same seed."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.corpus import write_corpus
from tests.fuzz.targets import TARGETS

RUNS = {"picture": 100, "request": 200}
OTHERS = 1000


@pytest.mark.parametrize("target", TARGETS)
def test_sound_inputs_pass(target: str, tmp_path: Path) -> None:
    write_corpus(target, tmp_path / target)
    inputs = list((tmp_path / target).iterdir())
    assert inputs
    for each in inputs:
        TARGETS[target](each.read_bytes())


@pytest.mark.skipif(find_spec("atheris") is None, reason="Atheris has no wheel for this platform")
def test_no_target_fails_within_a_few_inputs(tmp_path: Path) -> None:
    def fuzz(target: str) -> subprocess.CompletedProcess[str]:
        runs = RUNS.get(target, OTHERS)
        command = [sys.executable, "-m", "tests.fuzz", target, "--folder", str(tmp_path)]
        return subprocess.run(
            [*command, "--runs", str(runs), "--seed", "1"], capture_output=True, text=True, check=False
        )

    with ThreadPoolExecutor(2) as pool:
        for target, ended in zip(TARGETS, pool.map(fuzz, TARGETS), strict=True):
            assert ended.returncode == 0, f"{target}: {ended.stderr[-3000:]}"

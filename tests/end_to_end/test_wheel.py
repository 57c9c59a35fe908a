"""What a user installs holds the bundled model, the three packages and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_wheel_holds_the_bundled_model_and_no_tests(tmp_path: Path) -> None:
    source = tmp_path / "source"  # building leaves files behind
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "work", "*.egg-info"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(tmp_path),
        str(source),
    ]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for graph in ("encoder.onnx", "decoder.onnx", "bundle.json"):
        assert f"service/bundles/stellar-tiny/{graph}" in names
    packages = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert packages == {"service", "model", "training"}

"""The examples of docs/use/clients.md give the vectors that the service gives."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.docs.pages import ROOT, python_blocks
from tests.service.server import Server

EXAMPLES = python_blocks(ROOT / "docs/use/clients.md")
PRINT = "\nprint(*vector)\n"


@pytest.mark.parametrize(
    ("package", "environment"),
    [("service.client", "."), ("openai", "."), ("tritonclient", "."), ("kserve", "kserve")],
)
def test_example_gives_the_vector_of_embed(
    server: Server, photo: bytes, tmp_path: Path, package: str, environment: str
) -> None:
    (example,) = [text for text in EXAMPLES if re.search(rf"^(import|from) {package}\b", text, re.MULTILINE)]
    (tmp_path / "cat.jpg").write_bytes(photo)
    script = example.replace("localhost:8000", server.url.removeprefix("http://")) + PRINT
    python = Path(sys.prefix) / environment / "bin/python"
    done = subprocess.run([python, "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True)
    (expected,) = server.embedded(photo)
    np.testing.assert_allclose([float(number) for number in done.stdout.split()], expected, atol=1e-5)

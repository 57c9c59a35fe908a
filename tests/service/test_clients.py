"""The examples of docs/use/clients.md and openai-clients.md give the vectors that the service gives."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.docs.pages import ROOT, python_blocks, run_python
from tests.service.server import Server

CALLERS = ROOT / "docs/use/openai-clients.md"
EXAMPLES = python_blocks(ROOT / "docs/use/clients.md") + python_blocks(CALLERS)
OF_OPENAI = ("openai", "langchain_openai", "llama_index", "litellm", "haystack")
PRINT = "\nprint(*vector)\n"
PRINT_ALL = "\nfor vector in vectors: print(*vector)\n"


def example_of(package: str, server: Server) -> str:
    """The example that imports this package."""
    (example,) = [text for text in EXAMPLES if re.search(rf"^(import|from) {package}\b", text, re.MULTILINE)]
    return example.replace("localhost:8000", server.url.removeprefix("http://"))


@pytest.fixture
def folder(photo: bytes, tmp_path: Path) -> Path:
    (tmp_path / "cat.jpg").write_bytes(photo)
    return tmp_path


@pytest.mark.parametrize("package", ["service.client", "tritonclient", "kserve", *OF_OPENAI])
def test_example_gives_the_vector_of_embed(server: Server, photo: bytes, folder: Path, package: str) -> None:
    done = run_python(example_of(package, server) + PRINT, folder)
    assert done.returncode == 0, done.stderr
    (expected,) = server.embedded(photo)
    np.testing.assert_allclose([float(number) for number in done.stdout.split()], expected, atol=1e-5)


@pytest.mark.parametrize("package", OF_OPENAI[1:])
def test_several_pictures_have_a_vector_each(
    server: Server, photo: bytes, folder: Path, package: str
) -> None:
    done = run_python(example_of(package, server) + PRINT_ALL, folder)
    assert done.returncode == 0, done.stderr
    vectors = [[float(number) for number in line.split()] for line in done.stdout.splitlines()]
    np.testing.assert_allclose(vectors, server.embedded(photo) * 2, atol=1e-5)


@pytest.mark.parametrize("package", OF_OPENAI)
def test_callers_read_that_text_is_refused(server: Server, folder: Path, package: str) -> None:
    script, count = re.subn("^cat = .*$", 'cat = "a cat"', example_of(package, server), flags=re.MULTILINE)
    done = run_python(script, folder)
    assert (count, done.returncode) == (1, 1)
    assert "This model embeds pictures, not text." in done.stderr


def test_the_table_tells_the_versions_that_are_run() -> None:
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    told = re.findall(r"^\|.*\| `([\w-]+)` \| ([\w.]+) \|", CALLERS.read_text(), re.MULTILINE)
    assert len(told) == len(OF_OPENAI)
    assert dict(told) == {package: pinned[package] for package, _ in told}

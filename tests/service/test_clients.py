"""The examples of docs/use/clients.md and openai-clients.md give the vectors that the service gives."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.docs.pages import ROOT, python_blocks, run_python
from tests.service.server import Server

CALLERS, CLIENTS = (ROOT / f"docs/use/{name}.md" for name in ("openai-clients", "clients"))
EXAMPLES = python_blocks(ROOT / "docs/use/clients.md") + python_blocks(CALLERS)
OF_OPENAI = ("openai", "langchain_openai", "llama_index", "litellm", "haystack")
PRINT = "\nprint(*vector)\n"
PRINT_ALL = "for each in vectors: print(*each)\n"


def example_of(package: str, server: Server) -> str:
    """The example that imports this package."""
    (example,) = [text for text in EXAMPLES if re.search(rf"^(import|from) {package}\b", text, re.MULTILINE)]
    return example.replace("localhost:8000", server.url.removeprefix("http://"))


@pytest.fixture
def folder(photo: bytes, tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for name in ("cat.jpg", "photos/cat.jpg"):
        (tmp_path / name).write_bytes(photo)
    return tmp_path


def vectors_of(told: str, count: int = 1) -> list[list[float]]:
    """A vector a line; LiteLLM says more behind them."""
    return [[float(number) for number in line.split()] for line in told.splitlines()[:count]]


@pytest.mark.parametrize("package", ["service.client", "tritonclient", "kserve"])
def test_example_gives_the_vector_of_embed(server: Server, photo: bytes, folder: Path, package: str) -> None:
    done = run_python(example_of(package, server) + PRINT, folder)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()[-1]  # behind what the example itself prints
    np.testing.assert_allclose(vectors_of(told), server.embedded(photo), atol=1e-5)


@pytest.mark.parametrize("package", OF_OPENAI)
def test_callers_get_a_vector_for_each_picture_and_read_that_text_is_refused(
    server: Server, photo: bytes, folder: Path, package: str
) -> None:
    """In one process: some take seconds to load."""
    example = example_of(package, server)
    text, count = re.subn("^cat = .*$", 'cat = "a cat"', example, flags=re.MULTILINE)
    pictures = 3 if "vectors = " in example else 1
    done = run_python(example + PRINT + (PRINT_ALL if pictures > 1 else "") + text, folder)
    assert (count, done.returncode) == (1, 1), done.stderr
    assert "This model embeds pictures, not text." in done.stderr
    vectors = vectors_of(done.stdout, pictures)
    np.testing.assert_allclose(vectors, server.embedded(photo) * pictures, atol=1e-5)
    assert pictures > 1 or package == "openai"  # whose own several pictures test_openai.py sends


@pytest.mark.parametrize(("page", "packages"), [(CALLERS, len(OF_OPENAI)), (CLIENTS, 9)])
def test_the_tables_tell_the_versions_that_are_run(page: Path, packages: int) -> None:
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    told = re.findall(r"^\|.*\| `([\w-]+)` \| ([\w.]+) \|", page.read_text(), re.MULTILINE)
    assert len(told) == packages
    assert dict(told) == {package: pinned[package] for package, _ in told}

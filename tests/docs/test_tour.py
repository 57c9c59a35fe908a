"""The notebook runs from its first cell to its last beside a service, as a newcomer runs it."""

from __future__ import annotations

import ast
from base64 import b64decode
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from traitlets.config import Config

from tests.docs.pages import ROOT
from tests.service.photos import pixels_of
from tests.service.server import running

TOUR = ROOT / "docs/use/tour.ipynb"
CELL_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each cell of code shows, by its id: its result's types."""
    folder = tmp_path_factory.mktemp("tour")
    with (
        running(folder / "log", {}) as server,
        pytest.MonkeyPatch.context() as patch,
        TemporaryDirectory() as short,  # the kernel's sockets are files, not ports, whose paths are bounded
    ):
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        notebook = parsed(TOUR.read_text().replace("http://localhost:8000", server.url))
        sockets = Config(KernelManager={"transport": "ipc", "ip": f"{short}/kernel"})
        NotebookClient(notebook, config=sockets, timeout=CELL_TIMEOUT_S).execute()
    return {
        cell.id: next((output.data for output in cell.outputs if output.output_type == "execute_result"), {})
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


def parsed(text: str) -> Any:
    """A notebook."""
    return nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]


def shown(answers: dict[str, dict[str, Any]], cell: str) -> Any:
    """The picture that a cell shows, (H, W, 3)."""
    return pixels_of(b64decode(answers[cell]["image/png"])).astype(np.float32)


def test_edits_change_the_picture_where_their_token_is(answers: dict[str, dict[str, Any]]) -> None:
    plain = shown(answers, "plain")
    for cell in ("drop", "replace"):
        change = np.abs(shown(answers, cell) - plain).mean(axis=2)
        patch = len(change) // 12  # a side of the grid's cells
        there = change[4 * patch : 5 * patch, 5 * patch : 6 * patch]
        assert there.mean() > 5 * change.mean() > 0, cell


def test_search_finds_the_photo_that_the_query_was_cut_from(answers: dict[str, dict[str, Any]]) -> None:
    found = ast.literal_eval(answers["search"]["text/plain"])
    assert found[0][1] == "rocket"
    assert len(found) == 6


def test_tokens_are_drawn_as_one_sheet(answers: dict[str, dict[str, Any]]) -> None:
    height, width, _ = shown(answers, "sheet").shape
    assert min(height, width) > 224


def test_notebook_is_kept_without_what_it_showed() -> None:
    notebook = parsed(TOUR.read_text())
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert len(code) <= 10

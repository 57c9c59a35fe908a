"""How long an edit keeps the studio's page from everything else: `python -m tests.benchmarks.studio_edit`.

The least of many, which is what the work itself takes, however busy the machine is.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.service.server import running
from tests.studio.conftest import FLAGS, find_chromium
from tests.studio.screenshots import WINDOW
from tests.studio.visitor import Visitor

EDITS = 40
EDIT = """async (factor) => {
    const slider = document.querySelector("#factor");
    slider.value = factor;
    slider.dispatchEvent(new Event("input"));
    const start = performance.now();
    slider.dispatchEvent(new Event("change"));
    const spent = performance.now() - start;
    await new Promise((done) => setTimeout(done, 150));
    return spent;
}"""


def main() -> None:
    """Scale a token again and again, and print what that takes."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(Path(scratch) / "log", {}) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        with browser.new_context(viewport=WINDOW) as context:
            visitor = Visitor(context, server)
            visitor.open()
            visitor.token(8).click()
            spent = sorted(visitor.page.evaluate(EDIT, 1.1 + step * 0.05) for step in range(EDITS))
        browser.close()
    print(f"{spent[0]:.1f} ms for an edit, {spent[EDITS // 2]:.1f} ms in the median")


if __name__ == "__main__":
    main()

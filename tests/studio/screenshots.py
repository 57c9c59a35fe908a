"""Draw the README's pictures of the studio: `python -m tests.studio.screenshots FOLDER`."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, ViewportSize, sync_playwright

from tests.service.photos import photo
from tests.service.server import Server, running
from tests.studio.conftest import FLAGS, find_chromium
from tests.studio.visitor import Visitor

WINDOW: ViewportSize = {"width": 1440, "height": 1000}


def main(folder: Path) -> None:
    """Write studio-light.webp and studio-dark.webp."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(Path(scratch) / "log", {}) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        for scheme in ("light", "dark"):
            screenshot(browser, server, scheme).save(folder / f"studio-{scheme}.webp", quality=80, method=6)
        browser.close()


def screenshot(browser: Browser, server: Server, scheme: Literal["light", "dark"]) -> Image.Image:
    """The first sample with a token of a second photo chosen, its largest token scaled."""
    with browser.new_context(viewport=WINDOW, color_scheme=scheme) as context:
        visitor = Visitor(context, server)
        visitor.open()
        visitor.page.click("#guide-close")
        visitor.load_second("cat.jpg", photo("chelsea"))
        visitor.token(9).click()
        visitor.slide("#factor", 2.0)
        visitor.settle()
        return Image.open(io.BytesIO(visitor.page.screenshot())).convert("RGB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

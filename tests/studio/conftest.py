"""A real browser in front of a real server."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ViewportSize, expect, sync_playwright

from service.settings import BUNDLED_MODELS
from tests.service.photos import photo as sample
from tests.service.server import Server, running
from tests.studio.visitor import Visitor

ELSEWHERE = "studio.test"
"""This machine by a name that browsers don't take for their own: no HTTPS, no trust."""

# Nothing but the page: the browser asks nobody for updates, and draws without a GPU.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A new tab begins as an empty page, which would have a process of its own.
    "--process-per-site",
    "--renderer-process-limit=1",
    # Pages that live for seconds don't get back what V8's last compiler spends on them.
    "--js-flags=--no-turbofan",
    f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
]
WINDOW: ViewportSize = {"width": 1200, "height": 800}
"""Just wide enough for all columns: each frame is drawn pixel by pixel."""
SETTINGS: dict[str, Any] = {"viewport": WINDOW, "reduced_motion": "reduce"}
"""Of a visit: without transitions, of which every frame is drawn by a processor here. Firefox shows them."""
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first draws the same pages without a window around them, which takes processors a quarter less."""

Visit = Callable[..., AbstractContextManager[Visitor]]


def find_chromium() -> str:
    """The browser's file: CHROMIUM names it, or it is on the path."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "the studio's tests need Chromium: make chromium"
    return found


# Not for the session: while Playwright runs, its thread has an event loop, and other tests start their own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        yield started
        started.close()


@contextmanager
def two_models(folder: Path) -> Iterator[Server]:
    """A server with the bundled model twice, once called `another`."""
    models = folder / "models"
    for name in ("stellar-tiny", "another"):
        shutil.copytree(BUNDLED_MODELS / "stellar-tiny", models / name)
    manifest = models / "another/bundle.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"name": "another"}))
    with running(folder / "log", {}, "--models", str(models)) as started:
        yield started


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server") / "log", {}) as started:
        yield started


@pytest.fixture
def visit(browser: Browser) -> Visit:
    """Opens the studio of a server as somebody who was never there; nothing may go wrong in it."""

    @contextmanager
    def open_tab(server: Server, **options: Any) -> Iterator[Visitor]:
        with browser.new_context(**SETTINGS | options) as context:
            visitor = Visitor(context, server)
            yield visitor
            assert visitor.errors == []

    return open_tab


@pytest.fixture(scope="package")
def context(browser: Browser, server: Server) -> Iterator[BrowserContext]:
    """A browser whose cache has seen the studio, with a tab that keeps the process of the others' pages."""
    with browser.new_context(**SETTINGS) as context:
        context.new_page().goto(f"{server.url}/healthz/live")
        yield context


@pytest.fixture
def visitor(context: BrowserContext, server: Server) -> Iterator[Visitor]:
    """Somebody who sees the first sample; nothing may go wrong."""
    arrived = Visitor(context, server)
    arrived.open()
    yield arrived
    arrived.page.close()
    assert arrived.errors == []


@pytest.fixture(scope="session")
def coffee() -> bytes:
    """The first sample's bytes."""
    return (Path(__file__).parents[2] / "service/studio/samples/coffee.jpg").read_bytes()


@pytest.fixture(scope="session")
def cat() -> bytes:
    """A photo that is no sample."""
    return sample("chelsea")

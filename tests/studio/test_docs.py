"""The API's documentation: without internet, under the studio's policy, with keys, in the dark."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.service.server import Server, running
from tests.studio.conftest import ELSEWHERE, Visit


def test_docs_ask_nobody_but_the_service(visit: Visit, server: Server) -> None:
    """At an address that is not the machine's own: there Swagger UI likes to ask a validator."""
    address = f"http://{ELSEWHERE}:{server.port}"
    assert "unsafe" not in server.client.get("/docs").headers["content-security-policy"]
    with visit(server) as visitor:
        page = visitor.page
        page.goto(f"{address}/docs")
        page.locator(".opblock-summary").first.click()
        expect(page.locator(".opblock-body")).to_contain_text("similar pictures have a high cosine")
        page.wait_for_load_state("networkidle")
        assert len(visitor.requests) >= 5
        assert all(url.startswith((address, "data:")) for url in visitor.requests)
        assert all(text.startswith("The Cross-Origin-Opener-Policy header") for text in visitor.errors)
        visitor.errors.clear()


def test_docs_try_the_api_with_a_key(visit: Visit, tmp_path: Path) -> None:
    with running(tmp_path / "log", {"STELLAR_API_KEYS": "sesame"}) as server, visit(server) as visitor:
        page = visitor.page
        page.goto(f"{server.url}/docs")
        page.locator(".auth-wrapper > .authorize").click()
        page.fill(".auth-container input", "sesame")
        page.locator(".auth-btn-wrapper .authorize").click()
        page.locator(".auth-btn-wrapper .btn-done").click()
        page.locator("#operations-models-list_models_models_get .opblock-summary").click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
        expect(page.locator(".live-responses-table .response-col_description").last).to_contain_text(
            "stellar-tiny"
        )


def test_docs_follow_the_theme(visit: Visit, server: Server) -> None:
    with visit(server, color_scheme="dark") as visitor:
        visitor.page.goto(f"{server.url}/docs")
        expect(visitor.page.locator("html")).to_have_class(re.compile("dark-mode"))

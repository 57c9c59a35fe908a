"""What a browser gets first: small, from here alone, under a strict policy."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import expect

from tests.service.server import Server
from tests.studio.conftest import Visit
from tests.studio.visitor import Visitor

STUDIO = Path(__file__).parents[2] / "service/studio"


def test_page_allows_no_code_but_its_own(server: Server) -> None:
    for path in ("/", "/studio/app.js", "/studio/samples/moon.jpg"):
        answer = server.client.get(path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_page_holds_no_inline_code_or_style() -> None:
    html = (STUDIO / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)
    assert not re.search(r"(src|href)=\"(https?:)?//", html)


def test_files_are_asked_for_again_only_when_they_changed(server: Server) -> None:
    first = server.client.get("/studio/app.js")
    again = server.client.get("/studio/app.js", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    plain = server.client.get("/studio/app.js", headers={"accept-encoding": "identity"})
    assert (first.headers["content-encoding"], first.text) == ("gzip", plain.text)


@pytest.mark.parametrize("path", ["/studio/nothing.js", "/studio/", "/studio/%2e%2e/app.py"])
def test_nothing_else_is_served(server: Server, path: str) -> None:
    answer = httpx.get(server.url + path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_first_view_is_small_and_comes_from_the_service_alone(visit: Visit, server: Server) -> None:
    with visit(server) as visitor:
        sizes: list[int] = []
        visitor.page.on("requestfinished", lambda r: sizes.append(r.sizes()["responseBodySize"]))
        visitor.open()
        visitor.page.wait_for_load_state("networkidle")
        assert 50_000 < sum(sizes) < 200_000
        assert all(url.startswith(server.url) for url in visitor.requests)


def test_first_view_shows_a_sample_with_everything(visitor: Visitor, coffee: bytes) -> None:
    page = visitor.page
    expect(page.locator("#source-size")).to_have_text("coffee.jpg · 320 × 320")
    expect(page.locator("#strip .token")).to_have_count(16)
    shares = [float(text.split()[0]) for text in page.locator("#strip .share").all_text_contents()]
    assert sum(shares) == pytest.approx(100, abs=4)
    told = visitor.server.client.post("/reconstruct", content=coffee).headers["x-stellar-psnr-db"]
    assert visitor.number("psnr") == pytest.approx(float(told), abs=0.051)
    assert visitor.number("token-bytes") == pytest.approx(4 * (16 * 192 + 144 * 16) / 1000, abs=0.1)
    assert 1 < visitor.number("jpeg-bytes") < 20
    assert visitor.number("file-bytes") == pytest.approx(19.3, abs=0.1)


def test_each_token_shows_which_others_are_most_like_it(visitor: Visitor, coffee: bytes) -> None:
    vectors = visitor.server.client.post(
        "/embed", files={"image": coffee}, data={"pooling": "tokens", "normalize": "true"}
    ).json()["data"][0]["embedding"]
    cosines = np.array(vectors) @ np.array(vectors[8])
    want = [int(k) for k in np.argsort(-cosines) if k != 8][:3]
    names = ", ".join(map(str, want))
    expect(visitor.token(8)).to_have_attribute("aria-label", re.compile(f"most like {names}$"))
    shade = "node => getComputedStyle(node).getPropertyValue('--token')"
    colours = [visitor.token(k).evaluate(shade) for k in want]
    assert [dot.evaluate(shade) for dot in visitor.token(8).locator(".dot").all()] == colours


def test_second_photo_can_be_dragged_from_without_scrolling(visitor: Visitor, cat: bytes) -> None:
    visitor.load_second("cat.jpg", cat)
    for height in (900, 1000):
        visitor.page.set_viewport_size({"width": 1440, "height": height})
        box = visitor.page.locator("#second-strip").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= height


def test_photo_and_reconstruction_stand_side_by_side_on_a_phone(visitor: Visitor) -> None:
    visitor.page.set_viewport_size({"width": 360, "height": 740})
    boxes = [visitor.page.locator(name).bounding_box() for name in ("#picture-frame", "#result-frame")]
    assert boxes[0]
    assert boxes[1]
    assert (boxes[0]["y"], boxes[0]["width"]) == (boxes[1]["y"], boxes[1]["width"])
    assert boxes[0]["x"] + boxes[0]["width"] < boxes[1]["x"]
    visitor.token(8).click()
    for button in ("#drop-token", "#alpha"):
        visitor.page.locator(button).evaluate("node => node.scrollIntoView({ block: 'center' })")
        expect(visitor.page.locator("#result-frame")).to_be_in_viewport(ratio=1)
        expect(visitor.page.locator("#overlay")).to_be_in_viewport(ratio=1)


def test_views_fit_a_phone_and_a_wide_screen(visitor: Visitor) -> None:
    for width in (360, 768, 2560):
        visitor.page.set_viewport_size({"width": width, "height": 800})
        for tab in ("search", "compare", "edit"):
            visitor.page.click(f"#tab-{tab}")
            assert visitor.page.evaluate("document.documentElement.scrollWidth") == width


def test_theme_goes_round_and_is_kept(visitor: Visitor) -> None:
    page = visitor.page
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme")
    page.click("#theme")
    expect(page.locator("#theme")).to_have_attribute("aria-label", "Theme: dark")
    dark = page.evaluate(ground)
    page.reload()
    assert light != dark == page.evaluate(ground)
    page.click("#theme")
    expect(page.locator("#theme")).to_have_attribute("aria-label", "Theme: as the system")

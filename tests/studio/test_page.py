"""What a browser gets first: small, from here alone, under a strict policy."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from service.http.packed import one_script
from tests.service.http.test_packed import MODULES
from tests.service.server import Server
from tests.studio.conftest import Visit
from tests.studio.visitor import Visitor, home_of

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


def test_what_a_page_names_is_kept_for_good(server: Server) -> None:
    """Below a path that another version of the page would not name."""
    found = re.search(r'src="(studio/[0-9a-f]{12})/app.js"', server.client.get("/").text)
    assert found
    kept = server.client.get(f"/{found[1]}/app.js")
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert kept.text == server.client.get("/studio/app.js").text
    assert server.client.get("/studio/app.js").headers["cache-control"] == "no-cache"
    of_before = server.client.get("/studio/0123456789ab/app.js")
    assert (of_before.text, of_before.headers["cache-control"]) == (kept.text, "no-cache")
    assert server.client.get("/studio/0123456789ab/nothing.js").status_code == 404


def test_modules_in_one_script_do_what_they_do(browser: Browser) -> None:
    """Whatever names they share."""
    page = browser.new_page()
    with page.expect_console_message() as said:
        page.add_script_tag(content=one_script(MODULES, "app.js"), type="module")
    assert said.value.text == "somebody!"
    page.close()


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
        assert 50_000 < sum(sizes) < 150_000
        assert len(sizes) <= 12, visitor.requests
        assert all(url.startswith(server.url) for url in visitor.requests)
        visitor.page.reload()
        visitor.settle()
        asked = visitor.page.evaluate(
            """performance.getEntriesByType("resource")
                .filter(({ transferSize }) => transferSize).map(({ name }) => name)"""
        )
        assert asked == [f"{server.url}/models"]


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


def test_result_is_hovered_and_selected_as_the_photo_is(
    visitor: Visitor, server: Server, coffee: bytes
) -> None:
    page = visitor.page
    x, y = home_of(server, coffee, 8)
    left, top = visitor.at((x, y))
    photo, result = (page.locator(name).bounding_box() for name in ("#picture-frame", "#result-frame"))
    assert photo
    assert result
    place = left - photo["x"] + result["x"], top - photo["y"] + result["y"]
    page.mouse.move(*place)
    expect(visitor.token(8)).to_have_class("token hovered")
    page.mouse.click(*place)
    expect(visitor.token(8)).to_have_attribute("aria-pressed", "true")
    page.mouse.move(0, 0)
    visitor.until(
        "() => document.querySelector('#marks').getContext('2d').getImageData(0, 0, 400, 400)"
        ".data.some((value) => value > 0)"
    )


def test_pictures_have_the_pixels_of_the_screen(visit: Visit, server: Server) -> None:
    with visit(server, device_scale_factor=2) as visitor:
        visitor.open()
        width = visitor.page.locator("#photo").evaluate("node => node.clientWidth")
        assert visitor.page.locator("#photo").evaluate("node => node.width") == pytest.approx(
            2 * width, abs=2
        )


def test_guide_leads_through_the_first_edit_once(visit: Visit, server: Server) -> None:
    with visit(server) as visitor:
        visitor.open()
        page = visitor.page
        step = page.locator("#guide [aria-current]")
        expect(step).to_have_text("Click a thing in one of the pictures.")
        visitor.token(8).click()
        expect(step).to_have_text("Press Drop: it goes.")
        page.click("#drop-token")
        expect(step).to_have_text("Undo brings it back; nothing is lost.")
        page.click("#undo")
        expect(page.locator("#guide")).to_be_hidden()
        page.reload()
        visitor.settle()
        expect(page.locator("#guide")).to_be_hidden()


def test_result_says_which_model_drew_it_and_how_good_that_is(visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_role("button", name="stellar-tiny, a small demo model").click()
    card = page.get_by_role("dialog", name=re.compile("^stellar-tiny@"))
    expect(card).to_contain_text("96 × 96 pixels")
    expect(card).to_contain_text("21.3 dB PSNR")
    card.get_by_role("button", name="Close").click()
    expect(card).to_be_hidden()


def test_selected_token_has_its_controls_in_sight(visitor: Visitor) -> None:
    """And nothing is cut off."""
    for width in (390, 700, 768, 1024, 1180, 1280):
        visitor.page.set_viewport_size({"width": width, "height": 800})
        visitor.page.evaluate("scrollTo(0, 0)")
        visitor.token(8).evaluate("node => node.click()")
        for control in ("#drop-token", "#keep-token", "#factor"):
            expect(visitor.page.locator(control), f"at {width}").to_be_in_viewport(ratio=1)
        cut = visitor.page.evaluate(
            """() => [".share", ".number", ".tools button", ".tools label", "#source-size"]
                .flatMap((names) => [...document.querySelectorAll(names)])
                .filter((node) => node.checkVisibility() && node.clientWidth)
                .filter((node) => node.scrollWidth > node.clientWidth + 1)
                .map((node) => node.outerHTML)"""
        )
        assert cut == [], width
        heights = visitor.page.locator(".tools").evaluate_all(
            "nodes => nodes.map((node) => node.clientHeight)"
        )
        assert max(heights) < (60 if width > 640 else 110), width
        visitor.page.keyboard.press("Escape")
        expect(visitor.token(8)).to_have_attribute("aria-pressed", "false")


def test_donors_are_above_the_fold_of_a_small_window(visitor: Visitor, cat: bytes) -> None:
    visitor.page.set_viewport_size({"width": 1280, "height": 800})
    visitor.load_second("cat.jpg", cat)
    box = visitor.page.locator("#second-strip").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 800


def test_zoomed_screen_is_not_filled_by_pictures_that_stay(visitor: Visitor) -> None:
    visitor.page.set_viewport_size({"width": 640, "height": 400})  # 1280 by 800 at 200 %
    visitor.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(visitor.page.locator("#picture-frame")).not_to_be_in_viewport()

"""Large, broken and late things; keys; a service that goes and comes back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from safetensors.numpy import load

from tests.service.photos import encoded, pixels_of
from tests.service.server import Server, running
from tests.studio.conftest import Visit
from tests.studio.visitor import Visitor, drawn_by_api, run_call

pytestmark = pytest.mark.long

SHOWN = """() => {
    window.shown = [];
    const frame = document.querySelector("#result-frame");
    new MutationObserver(() => window.shown.push(JSON.parse(frame.dataset.edits)))
        .observe(frame, { attributes: true, attributeFilter: ["data-edits"] });
}"""
"""Writes down which edits each picture shows."""


def test_twelve_megapixels_that_lie_on_their_side(visitor: Visitor, cat: bytes) -> None:
    wide = Image.fromarray(pixels_of(cat)).resize((4000, 3000))
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    photo = encoded(wide, "JPEG", exif=turned)
    with visitor.page.expect_request_finished(lambda request: "/tokens" in request.url) as sent:
        visitor.load_photo("large.jpg", photo)
    assert sent.value.sizes()["requestBodySize"] < 60_000 < len(photo)
    expect(visitor.page.locator("#source-size")).to_have_text("large.jpg · 3000 × 4000")
    # The photo lies as the reconstruction does.
    assert visitor.number("psnr") > 18
    visitor.token(15).click()
    visitor.page.click("#drop-token")
    want = drawn_by_api(visitor.server, photo, visitor.edits()).astype(int)
    assert np.abs(visitor.picture() - want).mean() < 1
    expect(visitor.page.locator("#call-panel")).to_contain_text("The page sent the photo smaller")
    # What is taken away unedited comes of the file itself.
    visitor.page.click("#undo")
    with visitor.page.expect_download() as download:
        visitor.page.click("#save-tokens")
    accept = {"accept": "application/vnd.safetensors"}
    answer = visitor.server.client.post("/tokens", content=photo, headers=accept).content
    saved, answered = load(download.value.path().read_bytes()), load(answer)
    assert all((saved[name] == answered[name]).all() for name in ("semantics", "localization"))


def test_what_only_the_browser_reads_is_opened(visitor: Visitor) -> None:
    """A drawing, for one: the service gets its pixels."""
    half = '<rect width="60" height="60" fill="#c82020"/><rect x="60" width="60" height="60" fill="#2020c8"/>'
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 60">{half}</svg>'
    visitor.load_photo("halves.svg", drawing.encode(), "image/svg+xml")
    expect(visitor.page.locator("#source-size")).to_have_text("halves.svg · 1024 × 512")
    picture = visitor.picture().astype(int)
    third = picture.shape[1] // 3
    assert (picture[:, :third, 0] - picture[:, :third, 2]).mean() > 60
    assert (picture[:, -third:, 2] - picture[:, -third:, 0]).mean() > 60


def test_avif_is_opened_and_made_smaller(visitor: Visitor, cat: bytes) -> None:
    noise = Image.effect_noise((1600, 1200), 60).convert("RGB")
    picture = Image.blend(Image.fromarray(pixels_of(cat)).resize((1600, 1200)), noise, 0.3)
    photo = encoded(picture, "AVIF", quality=90, speed=10)
    with visitor.page.expect_request_finished(lambda request: "/tokens" in request.url) as sent:
        visitor.load_photo("cat.avif", photo, "image/avif")
    assert sent.value.sizes()["requestBodySize"] < len(photo) / 2
    expect(visitor.page.locator("#source-size")).to_have_text("cat.avif · 1600 × 1200")
    want = drawn_by_api(visitor.server, photo, []).astype(int)
    assert np.abs(visitor.picture() - want).mean() < 1


def test_slow_lines_tell_how_much_was_sent(visitor: Visitor, cat: bytes) -> None:
    visitor.page.evaluate(
        """() => {
            window.told = [];
            const size = document.querySelector("#source-size");
            new MutationObserver(() => told.push(size.textContent)).observe(size, { childList: true });
        }"""
    )
    visitor.slow_down(20, 2 * len(cat))
    visitor.load_photo("mine.jpg", cat)
    told = [text for text in visitor.page.evaluate("told") if text.endswith("% sent")]
    assert len(told) >= 2
    assert told[0].startswith("Opening mine.jpg… ")


def test_transparent_parts_are_white_as_the_model_sees_them(visitor: Visitor) -> None:
    picture = Image.new("RGBA", (300, 200), (0, 0, 0, 0))
    picture.paste((220, 40, 40, 255), (100, 50, 200, 150))
    visitor.load_photo("logo.png", encoded(picture, "PNG"))
    assert visitor.number("psnr") > 18
    assert visitor.picture("#photo")[5, 5].tolist() == [255, 255, 255]


def test_opening_is_told_while_it_lasts(visitor: Visitor, cat: bytes) -> None:
    visitor.slow_down(3000)
    visitor.load("mine.jpg", cat)
    expect(visitor.page.locator("#source-size")).to_contain_text("Opening mine.jpg…")
    expect(visitor.page.locator("#said")).to_have_text("Opening mine.jpg…")
    expect(visitor.page.locator("#picture-frame")).to_have_attribute("aria-busy", "true")
    expect(visitor.page.locator("#source-size")).to_contain_text("mine.jpg · ")
    expect(visitor.page.locator("#picture-frame")).to_have_attribute("aria-busy", "false")
    visitor.load("second.jpg", cat, "#second-file")
    expect(visitor.page.locator("#second-note")).to_contain_text("Opening second.jpg…")
    expect(visitor.page.locator("#second-note")).to_have_text("Drag a token onto the picture, or click one.")


def test_corrupt_file_is_told_with_advice_and_changes_nothing(visitor: Visitor, cat: bytes) -> None:
    before = visitor.picture()
    visitor.load("broken.jpg", cat[: len(cat) // 3])
    problem = visitor.page.locator("#problem p")
    expect(problem).to_contain_text("The image is truncated or damaged: send the whole file")
    expect(problem).to_contain_text("choose another file")
    assert (visitor.picture() == before).all()
    visitor.load("words.txt", b"no picture at all")
    expect(problem).to_contain_text("Save it as JPEG, PNG or WebP")
    visitor.page.get_by_role("button", name="Close this message").click()
    expect(visitor.page.locator("#problem")).to_be_hidden()
    visitor.load_photo("cat.jpg", cat)


def test_photo_is_pasted(visitor: Visitor, cat: bytes) -> None:
    visitor.page.evaluate(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "pasted.jpg", { type: "image/jpeg" }));
            dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
        }""",
        list(cat),
    )
    expect(visitor.page.locator("#source-size")).to_contain_text("pasted.jpg ·")


def test_photo_is_dropped_on_the_page_or_on_the_second_photo(visitor: Visitor, cat: bytes) -> None:
    for target, shown in (("#photo", "#source-size"), ("#second", "#second-photo")):
        data = visitor.page.evaluate_handle(
            """(bytes) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "dropped.jpg", { type: "image/jpeg" }));
                return data;
            }""",
            list(cat),
        )
        visitor.page.dispatch_event(target, "dragenter", {"dataTransfer": data})
        expect(visitor.page.locator("#drop")).to_be_visible()
        visitor.page.dispatch_event(target, "drop", {"dataTransfer": data})
        expect(visitor.page.locator("#drop")).to_be_hidden()
        if target == "#photo":
            expect(visitor.page.locator(shown)).to_contain_text("dropped.jpg ·")
        else:
            expect(visitor.page.locator(shown)).to_have_attribute("aria-label", "Second photo: dropped.jpg")


def test_two_quick_edits_on_a_slow_line_show_both_and_nothing_older(visitor: Visitor, coffee: bytes) -> None:
    visitor.slow_down(400)
    visitor.page.evaluate(SHOWN)
    visitor.page.evaluate(
        """() => {
            for (const k of [8, 10]) {
                document.querySelector(`#strip .token[data-token="${k}"]`).click();
                document.querySelector("#drop-token").click();
            }
        }"""
    )
    expect(visitor.page.locator("#result-frame")).to_have_attribute("aria-busy", "true")
    edits = visitor.edits()
    assert [edit["token"] for edit in edits] == [8, 10]
    assert visitor.page.evaluate("shown") == [edits]
    want = drawn_by_api(visitor.server, coffee, edits).astype(int)
    assert np.abs(visitor.picture() - want).max() <= 1


def test_picture_follows_while_a_slider_is_dragged_and_never_goes_back(visitor: Visitor) -> None:
    visitor.page.evaluate(SHOWN)
    visitor.token(8).click()
    for third in range(3):
        visitor.page.evaluate(
            """async (third) => {
                const slider = document.querySelector("#factor");
                for (let step = 1; step <= 20; step++) {
                    slider.value = 1 + third + step / 20;
                    slider.dispatchEvent(new Event("input"));
                    await new Promise((done) => setTimeout(done, 16));
                }
            }""",
            third,
        )
        visitor.until("third => shown.at(-1)?.[0].factor > 1 + third", third)
    visitor.page.dispatch_event("#factor", "change")
    assert visitor.edits() == [{"op": "scale", "token": 8, "factor": 4}]
    visitor.until("() => shown.at(-1)[0].factor === 4")
    factors = [edits[0]["factor"] for edits in visitor.page.evaluate("shown")]
    assert factors == sorted(factors)


def test_service_goes_away_and_returns(visit: Visit, coffee: bytes, tmp_path: Path) -> None:
    with running(tmp_path / "first", {}) as server, visit(server) as visitor:
        visitor.open()
        server.stop()
        visitor.token(8).click()
        visitor.page.click("#drop-token")
        away = visitor.page.locator("#away")
        expect(away).to_contain_text("The service does not answer.")
        visitor.token(10).click()
        visitor.page.click("#drop-token")
        expect(visitor.page.locator("#result-frame")).to_have_attribute("aria-busy", "true")
        visitor.page.get_by_role("button", name="Second photo: a cat").click()
        expect(visitor.page.locator("#second-shown")).to_be_hidden()
        with running(tmp_path / "second", {}, port=server.port) as again:
            expect(away).to_be_hidden()
            edits = visitor.edits()
            assert [edit["token"] for edit in edits] == [8, 10]
            expect(visitor.page.locator("#second-shown")).to_be_visible()
            want = drawn_by_api(again, coffee, edits).astype(int)
            assert np.abs(visitor.picture() - want).max() <= 1


def test_page_works_where_the_browser_keeps_nothing(visit: Visit, server: Server) -> None:
    with visit(server) as visitor:
        visitor.page.add_init_script(
            """for (const name of ["localStorage", "sessionStorage", "indexedDB"]) {
                const get = () => { throw new DOMException("no", "SecurityError"); };
                Object.defineProperty(window, name, { get });
            }"""
        )
        visitor.open()
        visitor.page.click("#theme")
        expect(visitor.page.locator("html")).to_have_attribute("data-theme", "light")


def test_page_asks_for_a_key_and_keeps_it_for_the_session_only(visit: Visit, tmp_path: Path) -> None:
    with running(tmp_path / "log", {"STELLAR_API_KEYS": "sesame"}) as server, visit(server) as visitor:
        page = visitor.page
        page.goto(server.url)
        expect(page.get_by_role("dialog", name="This service wants an API key")).to_be_visible()
        page.fill("#key-value", "wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#key-reason")).to_have_text("The API key is not accepted.")
        page.dispatch_event("#key", "close")  # a busy browser tells late that the dialog was closed before
        page.fill("#key-value", "sesame")
        page.get_by_role("button", name="Use the key").click()
        visitor.settle()
        expect(page.locator("#key")).to_be_hidden()
        for language in ("curl", "python"):
            call = visitor.call(language)
            assert "STELLAR_API_KEY" in call
            drawn = pixels_of(run_call(language, call, tmp_path, STELLAR_API_KEY="sesame"))
            assert np.abs(drawn.astype(int) - visitor.picture()).max() <= 1
        assert "sesame" not in page.content()
        page.reload()
        visitor.settle()
        assert "sesame" not in json.dumps(page.evaluate("({ ...localStorage })")) + page.url
        another = page.context.new_page()
        another.goto(server.url)
        expect(another.locator("#key")).to_be_visible()
        another.click("#key-cancel")
        expect(another.locator("#problem p")).to_contain_text("Reload the page to enter")


def test_edits_that_do_not_fit_are_told_with_the_way_out(visitor: Visitor, server: Server) -> None:
    edits = [{"op": "drop", "token": 3}, {"op": "scale", "token": 3, "factor": 2}]
    shared = {"edits": edits, "donors": [], "model": "stellar-tiny", "sample": "coffee", "name": "coffee.jpg"}
    fragment = visitor.fragment(shared)
    visitor.page.goto(f"{server.url}/?again#{fragment}")
    problem = visitor.page.locator("#problem p")
    expect(problem).to_contain_text("token 3 was dropped before. Undo the last edit")
    visitor.page.click("#reset")
    visitor.settle()
    expect(visitor.page.locator("#problem")).to_be_hidden()


def test_whoever_cancels_the_key_can_give_it_later(visit: Visit, tmp_path: Path) -> None:
    with running(tmp_path / "log", {"STELLAR_API_KEYS": "sesame"}) as server, visit(server) as visitor:
        page = visitor.page
        page.goto(server.url)
        page.click("#key-cancel")
        expect(page.locator("#waiting")).to_have_text("Nothing to show yet.")
        page.get_by_role("button", name="Open: a cat").click()
        page.click("#key-cancel")
        expect(page.locator("#source-size")).to_have_text("")
        expect(page.locator("#waiting")).to_have_text("Nothing to show yet.")
        page.get_by_role("button", name="Open: a cat").click()
        page.fill("#key-value", "sesame")
        page.keyboard.press("Enter")
        expect(page.locator("#source-size")).to_contain_text("chelsea.jpg ·")
        visitor.settle()


def test_first_photo_that_can_not_be_had_is_not_waited_for(visit: Visit, server: Server) -> None:
    with visit(server) as visitor:
        visitor.page.route("**/samples/coffee.jpg", lambda route: route.fulfill(status=404, body="{}"))
        visitor.page.goto(server.url)
        expect(visitor.page.locator("#problem")).to_be_visible()
        expect(visitor.page.locator("#waiting")).to_have_text("Nothing to show yet.")


def test_what_went_wrong_is_told_in_sight_moves_nothing_and_goes_with_its_cause(visitor: Visitor) -> None:
    page = visitor.page
    visitor.token(8).click()
    page.click("#keep-token")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    before = page.locator("#edits-title").bounding_box()
    page.keyboard.press("Delete")
    problem = page.locator("#problem")
    expect(problem).to_contain_text("The last token has to stay")
    expect(problem).to_be_in_viewport(ratio=1)
    assert page.locator("#edits-title").bounding_box() == before
    page.keyboard.press("Control+z")
    expect(problem).to_be_hidden()


def test_page_stands_still_while_it_loads(visit: Visit, server: Server) -> None:
    """Cumulative layout shift: https://web.dev/articles/cls"""
    shifts = """() => {
        window.shift = 0;
        new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
        }).observe({ type: "layout-shift", buffered: true });
    }"""
    for width in (390, 768, 1280, 1920):
        with visit(server, viewport={"width": width, "height": 800}) as visitor:
            visitor.page.add_init_script(f"({shifts})()")
            visitor.slow_down(150)
            visitor.open()
            visitor.token(8).click()
            visitor.page.click("#drop-token")
            visitor.settle()
            assert visitor.page.evaluate("shift") < 0.1, width

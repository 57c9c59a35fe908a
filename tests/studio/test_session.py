"""Nothing that somebody did is lost: by no reload, no other photo, no link, no closed tab."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from playwright.sync_api import expect

from tests.service.server import Server, running
from tests.studio.conftest import Visit, two_models
from tests.studio.visitor import Visitor, drawn_by_api

RIM, SAUCER, SHADE = 2, 11, 15  # of the first sample
DROPPED = [{"op": "drop", "token": RIM}]


def drop(visitor: Visitor, token: int) -> None:
    visitor.token(token).click()
    visitor.page.click("#drop-token")
    visitor.settle()


def expect_photo(visitor: Visitor, name: str) -> None:
    expect(visitor.page.locator("#source-size")).to_contain_text(f"{name} ·")
    visitor.settle()


def test_who_skips_to_the_photo_keeps_edits_and_address(visitor: Visitor) -> None:
    drop(visitor, RIM)
    address = visitor.page.url
    visitor.page.locator(".skip").focus()
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.locator("#main")).to_be_focused()
    assert visitor.page.url == address
    assert visitor.edits() == DROPPED


def test_what_was_done_just_before_a_reload_is_kept(visitor: Visitor) -> None:
    drop(visitor, RIM)
    for click in ("#undo", "#redo") * 2:
        visitor.page.evaluate("(id) => { document.querySelector(id).click(); location.reload(); }", click)
        expect_photo(visitor, "coffee.jpg")
        assert visitor.edits() == (DROPPED if click == "#redo" else [])


def test_photo_that_the_browser_had_no_room_for_is_written_once_it_has(visitor: Visitor, cat: bytes) -> None:
    drop(visitor, RIM)
    visitor.page.evaluate(
        """() => {
            const put = IDBObjectStore.prototype.put;
            IDBObjectStore.prototype.put = function (...record) {
                const request = put.apply(this, record);
                this.transaction.abort(); // as a full disk does
                return request;
            };
            window.makeRoom = () => { IDBObjectStore.prototype.put = put; };
        }"""
    )
    visitor.load_photo("mine.jpg", cat)
    visitor.page.evaluate("makeRoom()")
    drop(visitor, SHADE)
    visitor.page.reload()
    expect_photo(visitor, "mine.jpg")
    assert visitor.edits() == [{"op": "drop", "token": SHADE}]


def test_reload_brings_back_photo_edits_view_and_what_can_be_undone(visitor: Visitor, cat: bytes) -> None:
    page = visitor.page
    drop(visitor, RIM)
    visitor.load_photo("mine.jpg", cat)
    visitor.load_second("other.jpg", cat)
    visitor.token(SHADE).click()
    page.select_option("#partner", "second 3")
    page.click("#take")
    visitor.slide("#opacity", 0.7)
    edits, picture = visitor.edits(), visitor.picture()
    page.reload()
    expect_photo(visitor, "mine.jpg")
    assert visitor.edits() == edits
    assert (visitor.picture() == picture).all()
    assert np.abs(picture.astype(int) - drawn_by_api(visitor.server, cat, edits, cat)).max() <= 1
    expect(visitor.token(SHADE)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#second-photo")).to_have_attribute("aria-label", "Second photo: other.jpg")
    assert page.locator("#opacity").input_value() == "0.7"
    page.click("#undo")
    page.click("#undo")
    expect_photo(visitor, "coffee.jpg")
    assert visitor.edits() == DROPPED
    page.click("#redo")
    expect_photo(visitor, "mine.jpg")
    page.click("#tab-search")
    page.reload()
    expect(page.locator("#view-search")).to_be_visible()


def test_reload_while_the_service_is_away_waits_for_it(visit: Visit, cat: bytes, tmp_path: Path) -> None:
    with running(tmp_path / "first", {}) as server, visit(server) as visitor:
        visitor.open()
        visitor.load_photo("mine.jpg", cat)
        drop(visitor, RIM)
        visitor.page.route("**/models", lambda route: route.abort())
        visitor.page.reload()
        expect(visitor.page.locator("#away")).to_contain_text("The service does not answer.")
        visitor.page.unroute("**/models")
        expect_photo(visitor, "mine.jpg")
        assert visitor.edits() == DROPPED


def test_another_photo_is_told_and_can_be_undone(visitor: Visitor, cat: bytes) -> None:
    page = visitor.page
    drop(visitor, RIM)
    picture = visitor.picture()
    page.get_by_role("button", name="Open: a cat").click()
    expect_photo(visitor, "chelsea.jpg")
    assert visitor.edits() == []
    expect(page.locator("#offer p")).to_have_text("chelsea.jpg took the place of coffee.jpg and its edits.")
    page.get_by_role("button", name="Undo").last.click()
    expect_photo(visitor, "coffee.jpg")
    assert visitor.edits() == DROPPED
    assert (visitor.picture() == picture).all()
    visitor.load_photo("mine.jpg", cat)
    page.keyboard.press("Control+z")
    expect_photo(visitor, "coffee.jpg")
    assert visitor.edits() == DROPPED


def test_search_result_is_opened_and_undone(visitor: Visitor) -> None:
    page = visitor.page
    drop(visitor, RIM)
    page.click("#tab-search")
    page.click("#search-samples")
    page.get_by_title("Open moon.jpg").click()
    expect(page.locator("#offer p")).to_have_text("moon.jpg took the place of coffee.jpg and its edits.")
    page.locator("#offer button").first.click()
    page.click("#tab-edit")
    expect_photo(visitor, "coffee.jpg")
    assert visitor.edits() == DROPPED


def test_another_model_is_undone(visit: Visit, tmp_path: Path) -> None:
    with two_models(tmp_path) as server, visit(server) as visitor:
        visitor.open()
        page = visitor.page
        first = page.locator("#model").input_value()
        other = {"another": "stellar-tiny", "stellar-tiny": "another"}[first]
        drop(visitor, RIM)
        page.select_option("#model", other)
        expect(page.locator("#edit-list li")).to_have_count(0)
        page.click("#undo")
        expect(page.locator("#edit-list li")).to_have_count(1)
        assert page.locator("#model").input_value() == first
        assert visitor.edits() == DROPPED


def test_back_and_links_replace_nothing_for_good(visitor: Visitor) -> None:
    page = visitor.page
    page.evaluate("location.hash = '#elsewhere'")
    drop(visitor, RIM)
    page.go_back()
    assert visitor.edits() == DROPPED
    shared = {"edits": [{"op": "drop", "token": SAUCER}], "donors": [], "model": "stellar-tiny"}
    fragment = visitor.fragment(shared | {"sample": "chelsea", "name": "chelsea.jpg"})
    page.evaluate("(fragment) => { location.hash = fragment; }", fragment)
    expect_photo(visitor, "chelsea.jpg")
    assert visitor.edits() == shared["edits"]
    page.reload()
    expect_photo(visitor, "chelsea.jpg")
    page.click("#undo")
    expect_photo(visitor, "coffee.jpg")
    assert visitor.edits() == DROPPED


def test_what_is_on_its_way_is_taken_back_alone(visitor: Visitor, cat: bytes) -> None:
    drop(visitor, RIM)
    visitor.slow_down(5000)
    visitor.load("mine.jpg", cat)
    expect(visitor.page.locator("#source-size")).to_contain_text("Opening mine.jpg…")
    visitor.page.keyboard.press("Control+z")
    expect_photo(visitor, "coffee.jpg")
    assert visitor.edits() == DROPPED


def test_closed_tab_is_offered_in_the_next_until_all_is_forgotten(visitor: Visitor, cat: bytes) -> None:
    context, server = visitor.page.context, visitor.server
    visitor.load_photo("mine.jpg", cat)
    drop(visitor, RIM)
    visitor.page.close()
    again = Visitor(context, server)
    again.open()
    expect(again.page.locator("#offer p")).to_have_text("You edited mine.jpg in this browser before.")
    again.page.locator("#offer button").first.click()
    expect_photo(again, "mine.jpg")
    assert again.edits() == DROPPED
    again.page.click("#forget")
    expect_photo(again, "coffee.jpg")
    expect(again.page.locator("#offer")).to_be_hidden()
    assert again.edits() == []
    assert again.errors == []
    again.page.close()


def test_photos_of_closed_tabs_do_not_pile_up(visit: Visit, server: Server, cat: bytes) -> None:
    """Of the newest four tabs all is kept, of others nothing."""
    with visit(server) as visitor:
        for _ in range(5):
            visitor.page.close()
            visitor = Visitor(visitor.page.context, server)
            visitor.open()
            visitor.load_photo("mine.jpg", cat)
            drop(visitor, RIM)
            visitor.page.reload()
            expect_photo(visitor, "mine.jpg")
        kept = visitor.page.evaluate(
            """async () => {
                const opened = indexedDB.open("stellar-studio");
                await new Promise((done) => (opened.onsuccess = done));
                const stores = opened.result.transaction(["tabs", "scenes"]);
                const counts = ["tabs", "scenes"].map((name) => stores.objectStore(name).count());
                await new Promise((done) => (stores.oncomplete = done));
                return counts.map((count) => count.result);
            }"""
        )
        assert kept == [4, 8]

"""What the page hands out works outside it: calls, links, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, expect
from safetensors.numpy import load_file

from tests.service.photos import pixels_of
from tests.service.server import Server
from tests.studio.conftest import ELSEWHERE, Visit
from tests.studio.visitor import Visitor, drawn_by_api, run_call

pytestmark = pytest.mark.long


def drop(visitor: Visitor, token: int = 8) -> None:
    visitor.token(token).click()
    visitor.page.click("#drop-token")
    visitor.settle()


NAME = 'it\'s a "cat"; really, $HOME.jpg'
"""A file name with all that shells, curl and Python take for something else."""


def edit_with_a_second_photo(visitor: Visitor, cat: bytes) -> None:
    visitor.load_second("the cat.jpg", cat)
    visitor.token(15).click()
    visitor.page.select_option("#partner", "second 3")
    visitor.page.click("#take")
    visitor.page.select_option("#partner", "self 8")
    visitor.slide("#alpha", 0.5)
    visitor.token(8).click()
    visitor.page.click("#drop-token")
    visitor.settle()


def assert_calls_draw_it(visitor: Visitor, scratch: Path, photos: dict[str, bytes]) -> None:
    """Each call draws what the page shows, in a folder of its own with the photos."""
    for language in ("curl", "python"):
        folder = scratch / language
        folder.mkdir()
        for name, photo in photos.items():
            (folder / name).write_bytes(photo)
        drawn = pixels_of(run_call(language, visitor.call(language), folder))
        assert np.abs(drawn.astype(int) - visitor.picture()).max() <= 1, language


def test_calls_draw_what_the_page_shows(visitor: Visitor, cat: bytes, tmp_path: Path) -> None:
    visitor.load_photo(NAME, cat)
    edit_with_a_second_photo(visitor, cat)
    assert_calls_draw_it(visitor, tmp_path, {NAME: cat, "the cat.jpg": cat})


def test_call_for_a_sample_fetches_the_sample(visitor: Visitor, tmp_path: Path) -> None:
    visitor.token(8).click()
    visitor.page.click("#drop-token")
    visitor.settle()
    assert_calls_draw_it(visitor, tmp_path, {})


def test_call_and_link_are_copied(context: BrowserContext, visitor: Visitor) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.page.click("#copy-call")
    expect(visitor.page.locator("#copy-call")).to_have_text("Copied")
    copied = visitor.page.evaluate("navigator.clipboard.readText()")
    assert copied == visitor.page.locator("#call").text_content()
    visitor.token(8).click()
    visitor.page.click("#drop-token")
    visitor.page.click("#copy-link")
    assert visitor.page.evaluate("navigator.clipboard.readText()") == visitor.page.url
    assert "#edit=" in visitor.page.url


def test_call_and_link_are_copied_without_https(visit: Visit, server: Server) -> None:
    """There browsers have no clipboard for pages, only the old command."""
    with visit(server) as visitor:
        page = visitor.page
        page.goto(f"http://{ELSEWHERE}:{server.port}/")
        visitor.settle()
        assert not page.evaluate("isSecureContext")
        page.evaluate(
            "() => addEventListener('copy', () => (window.copied = String(document.activeElement.value)))"
        )
        visitor.token(8).click()
        page.click("#drop-token")
        for button, want in (("#copy-link", page.url), ("#copy-call", visitor.call("curl"))):
            page.click(button)
            expect(page.locator(button)).to_have_text("Copied")
            page.click(button)
            assert page.evaluate("copied") == want
            expect(page.locator(button)).to_have_text("Copy link" if button == "#copy-link" else "Copy")
            expect(page.locator(button)).to_be_focused()
        assert all(text.startswith("The Cross-Origin-Opener-Policy header") for text in visitor.errors)
        visitor.errors.clear()


def test_link_restores_an_edit_of_samples_whole(visitor: Visitor, visit: Visit, server: Server) -> None:
    visitor.page.get_by_role("button", name="Second photo: a cat").click()
    expect(visitor.page.locator("#second-shown")).to_be_visible()
    visitor.token(15).click()
    visitor.page.select_option("#partner", "second 3")
    visitor.page.click("#take")
    edits = visitor.edits()
    expect(visitor.page.locator("#link-note")).to_contain_text("restores this edit on the sample")
    with visit(server) as friend:
        friend.page.goto(visitor.page.url)
        expect(friend.page.locator("#result-note")).to_have_text("after 1 edit")
        assert friend.edits() == edits
        assert (friend.picture() == visitor.picture()).all()


def test_link_to_other_photos_says_that_it_lacks_them(visitor: Visitor, visit: Visit, cat: bytes) -> None:
    visitor.load_photo("mine.jpg", cat)
    edit_with_a_second_photo(visitor, cat)
    expect(visitor.page.locator("#link-note")).to_contain_text("not the image")
    expect(visitor.page.locator("#link-note")).to_contain_text("mine.jpg and the cat.jpg")
    with visit(visitor.server) as friend:
        friend.page.goto(visitor.page.url)
        expect(friend.page.locator("#waiting")).to_have_text(
            "This link brings 3 edits. Open mine.jpg to see them."
        )
        friend.load_photo("mine.jpg", cat)
        friend.load_second("the cat.jpg", cat)
        expect(friend.page.locator("#result-note")).to_have_text("after 3 edits")
        assert friend.edits() == visitor.edits()
        assert (friend.picture() == visitor.picture()).all()


def test_link_opens_a_sample_that_is_not_edited(visitor: Visitor, visit: Visit, server: Server) -> None:
    assert "#" not in visitor.page.url
    visitor.page.get_by_role("button", name="Open: a cat").click()
    expect(visitor.page.locator("#source-size")).to_contain_text("chelsea.jpg ·")
    with visit(server) as friend:
        friend.page.goto(visitor.page.url)
        expect(friend.page.locator("#source-size")).to_contain_text("chelsea.jpg ·")


def test_link_says_which_second_photo_it_needs(visitor: Visitor, visit: Visit, cat: bytes) -> None:
    edit_with_a_second_photo(visitor, cat)
    with visit(visitor.server) as friend:
        friend.page.goto(visitor.page.url)
        friend.settle()
        expect(friend.page.locator("#lacking")).to_have_text(
            "Not shown yet: choose the cat.jpg as second photo."
        )
        expect(friend.page.locator("#second-note")).to_have_text(
            "The edits need the cat.jpg: choose it here."
        )
        friend.load_second("the cat.jpg", cat)
        expect(friend.page.locator("#lacking")).to_be_hidden()
        expect(friend.page.locator("#result-note")).to_have_text("after 3 edits")
        assert (friend.picture() == visitor.picture()).all()


def test_link_to_a_photo_waits_for_it_where_another_one_is_open(visitor: Visitor, cat: bytes) -> None:
    shared = {"edits": [{"op": "drop", "token": 8}], "donors": [], "model": "stellar-tiny", "sample": ""}
    fragment = visitor.fragment(shared | {"name": "cat.jpg"})
    visitor.page.evaluate("(fragment) => { location.hash = fragment; }", fragment)
    waiting = visitor.page.locator("#waiting")
    expect(waiting).to_have_text("This link brings 1 edit. Open cat.jpg to see it.")
    expect(waiting).to_be_visible()
    visitor.load_photo("cat.jpg", cat)
    expect(waiting).to_be_hidden()
    assert visitor.edits() == shared["edits"]
    other = visitor.fragment(shared | {"name": "cat.jpg", "edits": [{"op": "drop", "token": 9}]})
    visitor.page.evaluate("(fragment) => { location.hash = fragment; }", other)
    expect(visitor.page.locator("#edit-list")).to_have_text("Drop token 9✕")
    expect(waiting).to_be_hidden()


def test_link_of_a_model_that_is_not_served_is_told(visit: Visit, server: Server) -> None:
    with visit(server) as visitor:
        visitor.open()
        shared = {"edits": [], "donors": [], "model": "large", "sample": "moon", "name": "moon.jpg"}
        visitor.open(f"/?again#{visitor.fragment(shared)}")
        problem = visitor.page.locator("#problem p")
        expect(problem).to_contain_text("made with the model large, which is not served here")


def test_damaged_link_is_told_and_the_page_works(visit: Visit, server: Server) -> None:
    with visit(server) as visitor:
        visitor.open("/")
        shared = {"edits": [], "donors": [], "model": "stellar-tiny", "sample": "moon", "name": "moon.jpg"}
        boxes = ("0.9,0,0.1,1", "0,0.5,1,0.5", "0.5,0,1.5,1", "0,1.2.3,1,5", "0,0,0.5,0.5")
        damaged = [visitor.fragment({**shared, "box": box}) for box in boxes]
        for number, fragment in enumerate(["edit=bm90IGpzb24", *damaged]):
            visitor.open(f"/?{number}#{fragment}")
            expect(visitor.page.locator("#problem p")).to_have_text(
                "The link is damaged: parts of it are missing or were changed."
            )
            assert visitor.edits() == []


def test_picture_tokens_and_edits_are_downloaded(visitor: Visitor, cat: bytes, tmp_path: Path) -> None:
    visitor.load_photo("mine.jpg", cat)
    visitor.token(8).click()
    visitor.page.click("#drop-token")
    edits = visitor.edits()
    paths = []
    for button, name in (
        ("#save-picture", "mine-edited.png"),
        ("#save-tokens", "mine-edited.safetensors"),
        ("#save-edits", "mine-edits.json"),
    ):
        with visitor.page.expect_download() as download:
            visitor.page.click(button)
        assert download.value.suggested_filename == name
        paths.append(tmp_path / name)
        download.value.save_as(paths[-1])
    picture, tokens, document = paths
    assert (pixels_of(picture.read_bytes()) == visitor.picture()).all()
    assert np.abs(visitor.picture().astype(int) - drawn_by_api(visitor.server, cat, edits)).max() <= 1
    assert load_file(tokens)["semantics"].shape == (1, 16, 192)
    drawn = visitor.server.client.post("/reconstruct", files={"tokens": tokens.read_bytes()}).content
    assert np.abs(visitor.picture().astype(int) - pixels_of(drawn)).max() <= 1
    assert json.loads(document.read_text())["edits"] == edits
    # All of it comes back.
    page = visitor.page
    page.click("#reset")
    page.set_input_files("#saved-file", document)
    assert visitor.edits() == edits
    shown = visitor.picture()
    page.set_input_files("#saved-file", tokens)
    expect(page.locator("#source-size")).to_contain_text("mine-edited.safetensors ·")
    assert visitor.edits() == []
    assert np.abs(visitor.picture().astype(int) - shown).max() <= 1
    visitor.token(9).click()
    page.click("#drop-token")
    visitor.settle()
    drawn = run_call("curl", visitor.call("curl"), tmp_path)
    assert np.abs(visitor.picture().astype(int) - pixels_of(drawn)).max() <= 1
    # Of tokens there is no picture that a call could name as donor: their numbers stand in it.
    visitor.load("more.safetensors", tokens.read_bytes(), "#second-file")
    expect(page.locator("#second-photo")).to_have_attribute("aria-label", "Second photo: more.safetensors")
    for token, other in ((3, "self 5"), (2, "second 6")):
        visitor.token(token).click()
        page.select_option("#partner", other)
        page.click("#take")
    for language in ("curl", "python"):
        drawn = run_call(language, visitor.call(language), tmp_path)
        assert np.abs(visitor.picture().astype(int) - pixels_of(drawn)).max() <= 1
    page.reload()
    expect(page.locator("#source-size")).to_contain_text("mine-edited.safetensors ·")
    expect(visitor.token(2)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    page.click("#tab-search")
    page.click("#search-samples")
    expect(page.locator("#search-note")).to_have_text("6 photos ranked by the whole photo.")
    assert "image=@mine-edited-reconstructed.png" in visitor.call("curl", "search-call")
    page.click("#tab-edit")
    (tmp_path / "notes.json").write_text("[]")
    page.set_input_files("#saved-file", tmp_path / "notes.json")
    expect(page.locator("#problem p")).to_have_text("The file holds no edits that this page has saved.")
    page.set_input_files("#saved-file", {"name": "no.safetensors", "mimeType": "", "buffer": b"no tokens"})
    expect(page.locator("#problem p")).to_contain_text("does not hold the tokens of one image")


def test_link_and_picture_go_to_the_sheet_of_the_system(visit: Visit, server: Server) -> None:
    """A stand-in for the sheet: this browser has none."""
    with visit(server) as visitor:
        visitor.page.add_init_script(
            """window.sent = [];
            navigator.canShare = () => true;
            navigator.share = async ({ url, files }) => sent.push([url, files[0].name, files[0].size]);"""
        )
        visitor.open()
        drop(visitor)
        visitor.page.get_by_role("button", name="Send…").click()
        visitor.until("() => sent.length")
        ((url, name, size),) = visitor.page.evaluate("sent")
        assert url == visitor.page.url
        assert name == "coffee.png"
        assert size > 1000


def test_picture_is_saved_when_it_shows_the_edits(visitor: Visitor, coffee: bytes, tmp_path: Path) -> None:
    with visitor.page.expect_download() as download:
        visitor.page.click("#save-picture")
    assert download.value.suggested_filename == "coffee-reconstructed.png"
    visitor.slow_down(400)
    visitor.token(8).click()
    visitor.page.click("#drop-token")
    with visitor.page.expect_download() as download:
        visitor.page.click("#save-picture")
    download.value.save_as(tmp_path / "saved.png")
    want = drawn_by_api(visitor.server, coffee, [{"op": "drop", "token": 8}]).astype(int)
    assert np.abs(pixels_of((tmp_path / "saved.png").read_bytes()) - want).max() <= 1


def test_call_touches_no_file_of_the_same_name(visitor: Visitor, cat: bytes, tmp_path: Path) -> None:
    """One's own coffee.jpg stays what it is, and is not taken for the sample."""
    (tmp_path / "coffee.jpg").write_bytes(cat)
    drop(visitor)
    drawn = pixels_of(run_call("curl", visitor.call("curl"), tmp_path))
    assert (tmp_path / "coffee.jpg").read_bytes() == cat
    assert np.abs(drawn.astype(int) - visitor.picture()).max() <= 1


def test_own_photo_and_sample_of_one_name_are_two_files(visitor: Visitor, cat: bytes, tmp_path: Path) -> None:
    visitor.load_photo("coffee.jpg", cat)
    visitor.page.get_by_role("button", name="Second photo: a cup of coffee").click()
    expect(visitor.page.locator("#second-photo")).to_have_attribute(
        "aria-label", "Second photo: coffee (2).jpg"
    )
    visitor.token(15).click()
    visitor.page.select_option("#partner", "second 3")
    visitor.page.click("#take")
    visitor.settle()
    assert_calls_draw_it(visitor, tmp_path, {"coffee.jpg": cat})


def test_two_own_photos_of_one_name_are_told_apart(visitor: Visitor, cat: bytes, coffee: bytes) -> None:
    visitor.load_photo("IMG.jpg", cat)
    visitor.load("IMG.jpg", coffee, "#second-file")
    expect(visitor.page.locator("#second-photo")).to_have_attribute("aria-label", "Second photo: IMG (2).jpg")
    visitor.token(15).click()
    visitor.page.select_option("#partner", "second 3")
    visitor.page.click("#take")
    assert "image=@IMG.jpg" in visitor.call("curl")
    assert "donor=@IMG (2).jpg" in visitor.call("curl")
    expect(visitor.page.locator("#link-note")).to_contain_text("needs IMG.jpg and IMG (2).jpg too")


def test_link_is_not_applied_to_another_photo_unasked(
    visitor: Visitor, visit: Visit, cat: bytes, coffee: bytes
) -> None:
    visitor.load_photo("mine.jpg", cat)
    drop(visitor)
    edits = visitor.edits()
    with visit(visitor.server) as friend:
        friend.page.goto(visitor.page.url)
        friend.load_photo("mine.jpg", coffee)
        expect(friend.page.locator("#offer p")).to_have_text(
            "These edits were made on mine.jpg; this is another photo, so they are not applied."
        )
        assert friend.edits() == []
        friend.page.get_by_role("button", name="Apply them all the same").click()
        assert friend.edits() == edits
        friend.page.click("#undo")
        assert friend.edits() == []
    with visit(visitor.server) as friend:
        friend.page.goto(visitor.page.url)
        friend.load_photo("renamed.jpg", cat)
        expect(friend.page.locator("#offer")).to_be_hidden()
        assert friend.edits() == edits


def test_link_takes_no_other_second_photo_unasked(
    visitor: Visitor, visit: Visit, cat: bytes, coffee: bytes
) -> None:
    edit_with_a_second_photo(visitor, cat)
    edits = visitor.edits()
    with visit(visitor.server) as friend:
        friend.page.goto(visitor.page.url)
        friend.settle()
        friend.load_second("another.jpg", coffee)
        expect(friend.page.locator("#offer p")).to_contain_text("tokens of the cat.jpg")
        expect(friend.page.locator("#lacking")).to_be_visible()
        friend.page.get_by_role("button", name="Use it all the same").click()
        expect(friend.page.locator("#lacking")).to_be_hidden()
        assert friend.edits() == edits
        want = drawn_by_api(friend.server, coffee, edits, coffee, coffee).astype(int)
        assert np.abs(friend.picture() - want).max() <= 1


def test_picture_that_the_service_does_not_draw_is_not_saved_and_told(
    visitor: Visitor, server: Server
) -> None:
    edits = [{"op": "drop", "token": 3}, {"op": "scale", "token": 3, "factor": 2}]
    shared = {"edits": edits, "donors": [], "model": "stellar-tiny", "sample": "coffee", "name": "coffee.jpg"}
    visitor.page.goto(f"{server.url}/?again#{visitor.fragment(shared)}")
    expect(visitor.page.locator("#problem")).to_be_visible()
    visitor.settle()
    visitor.page.click("#save-picture")
    expect(visitor.page.locator("#problem p")).to_contain_text("There is no picture of these edits.")

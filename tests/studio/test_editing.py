"""Every edit by hand gives the picture that the API gives for the edit that the page shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.service.photos import encoded, photo, pixels_of
from tests.service.server import Server, running
from tests.studio.conftest import Visit
from tests.studio.visitor import Visitor, drawn_by_api, home_of, run_call

pytestmark = pytest.mark.long

PSNR = "x-stellar-psnr-db"
RIM, SAUCER, SHADE = 2, 11, 15  # of the first sample


def assert_drawn(visitor: Visitor, photo: bytes, *donors: bytes) -> None:
    """The page shows what the API draws; a level may be lost where tokens travel as float32."""
    want = drawn_by_api(visitor.server, photo, visitor.edits(), *donors).astype(int)
    assert np.abs(visitor.picture().astype(int) - want).max() <= 1


def test_hovering_a_region_lights_its_token_and_the_other_way_round(
    visitor: Visitor, server: Server, coffee: bytes
) -> None:
    before = visitor.picture("#overlay")
    visitor.page.mouse.move(*visitor.at(home_of(server, coffee, RIM)))
    expect(visitor.token(RIM)).to_have_class("token hovered")
    visitor.page.mouse.move(0, 0)
    expect(visitor.token(RIM)).to_have_class("token")
    visitor.token(RIM).hover()
    visitor.page.wait_for_timeout(100)
    assert np.abs(before.astype(int) - visitor.picture("#overlay")).max() > 20


def test_clicking_a_region_selects_its_token(visitor: Visitor, server: Server, coffee: bytes) -> None:
    visitor.page.mouse.click(*visitor.at(home_of(server, coffee, RIM)))
    expect(visitor.token(RIM)).to_have_attribute("aria-pressed", "true")
    expect(visitor.page.locator("#inspector h2").last).to_have_text(f"Token {RIM}")
    expect(visitor.page.locator(".nearest .chip")).to_have_count(3)
    visitor.page.mouse.click(*visitor.at(home_of(server, coffee, RIM)))
    expect(visitor.token(RIM)).to_have_attribute("aria-pressed", "false")
    assert visitor.edits() == []


def test_edit_draws_only_the_tokens_that_it_changes(visitor: Visitor) -> None:
    """What the page's own thread does for an edit is mostly drawing."""
    visitor.token(RIM).click()
    visitor.page.evaluate(
        """() => {
            window.drawn = new Set();
            const put = CanvasRenderingContext2D.prototype.putImageData;
            CanvasRenderingContext2D.prototype.putImageData = function (...image) {
                const card = this.canvas.closest("#strip .token");
                if (card) drawn.add(Number(card.dataset.token));
                return put.apply(this, image);
            };
        }"""
    )
    visitor.page.click("#tool-paint")
    visitor.page.select_option("#brush", "1")
    visitor.page.mouse.click(*visitor.at((0, 0)))
    (edit,) = visitor.edits()
    drawn = visitor.page.evaluate("[...drawn]")
    assert edit["token"] in drawn
    assert len(drawn) <= 6


def test_regions_fade_and_go(visitor: Visitor) -> None:
    full = visitor.picture("#overlay")
    assert full.any()
    visitor.page.uncheck("#show-regions")
    visitor.page.wait_for_timeout(100)
    assert not visitor.picture("#overlay").any()


def test_dropping_a_token(visitor: Visitor, coffee: bytes) -> None:
    plain = visitor.picture()
    visitor.token(RIM).click()
    visitor.page.click("#drop-token")
    assert visitor.edits() == [{"op": "drop", "token": RIM}]
    assert_drawn(visitor, coffee)
    assert np.abs(plain.astype(int) - visitor.picture()).max() > 20
    expect(visitor.token(RIM)).to_have_attribute("aria-disabled", "true")
    expect(visitor.token(RIM).locator(".share")).to_have_text("gone")


def test_dropping_several_tokens_by_the_keyboard(visitor: Visitor, coffee: bytes) -> None:
    visitor.token(0).focus()
    visitor.page.keyboard.press("ArrowRight")
    visitor.page.keyboard.press("Enter")
    visitor.page.keyboard.press("ArrowRight")
    visitor.page.keyboard.press("Control+Enter")
    visitor.page.keyboard.press("Delete")
    assert visitor.edits() == [{"op": "drop", "token": 1}, {"op": "drop", "token": 2}]
    assert_drawn(visitor, coffee)


def test_keeping_some_tokens(visitor: Visitor, coffee: bytes) -> None:
    visitor.token(SAUCER).click()
    visitor.token(RIM).click(modifiers=["Shift"])
    visitor.page.click("#keep-token")
    assert visitor.edits() == [{"op": "keep", "tokens": [RIM, SAUCER]}]
    assert_drawn(visitor, coffee)


def test_scaling_a_token_is_one_edit_however_long_it_is_dragged(visitor: Visitor, coffee: bytes) -> None:
    visitor.token(RIM).click()
    for factor in (1.4, 2.2, 3.0):
        visitor.slide("#factor", factor)
    assert visitor.edits() == [{"op": "scale", "token": RIM, "factor": 3}]
    assert_drawn(visitor, coffee)
    visitor.slide("#factor", 1)
    assert visitor.edits() == []


def test_what_ends_where_it_began_is_no_edit(visitor: Visitor, server: Server, coffee: bytes) -> None:
    """However a slider or a region went in between."""
    visitor.token(RIM).click()
    visitor.page.evaluate(
        """() => {
            for (const [id, way] of [["factor", [2, 1]], ["alpha", [0.5, 0]]]) {
                const slider = document.getElementById(id);
                for (const value of way) {
                    slider.value = value;
                    slider.dispatchEvent(new Event("input"));
                }
                slider.dispatchEvent(new Event("change"));
            }
        }"""
    )
    assert visitor.edits() == []
    expect(visitor.page.locator("#undo")).to_be_disabled()
    x, y = home_of(server, coffee, RIM)
    visitor.drag(visitor.at((x, y)), visitor.at((x - 1, y)))
    visitor.drag(visitor.at((x - 1, y)), visitor.at((x, y)))
    assert visitor.edits() == []


def test_scaling_to_almost_nothing_keeps_the_token_in_hand(visitor: Visitor) -> None:
    visitor.token(RIM).click()
    box = visitor.page.locator("#factor").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    visitor.drag((box["x"] + box["width"] / 4, y), (box["x"] - 20, y))
    assert visitor.edits() == [{"op": "scale", "token": RIM, "factor": 0.05}]
    expect(visitor.page.locator("#factor")).to_be_visible()


def test_last_token_stays(visitor: Visitor) -> None:
    visitor.token(RIM).click()
    visitor.page.click("#keep-token")
    visitor.page.click("#drop-token")
    expect(visitor.page.locator("#problem p")).to_contain_text("The last token has to stay")
    assert visitor.edits() == [{"op": "keep", "tokens": [RIM]}]
    expect(visitor.page.locator("#swap")).to_be_disabled()


def test_delete_key_drops_the_region_that_was_clicked(
    visitor: Visitor, server: Server, coffee: bytes
) -> None:
    visitor.page.mouse.click(*visitor.at(home_of(server, coffee, SAUCER)))
    visitor.page.keyboard.press("Escape")
    visitor.page.keyboard.press("Delete")
    assert visitor.edits() == []
    visitor.page.mouse.click(*visitor.at(home_of(server, coffee, SAUCER)))
    visitor.page.keyboard.press("Delete")
    assert visitor.edits() == [{"op": "drop", "token": SAUCER}]


def test_swapping_two_tokens_by_button_and_by_dragging(visitor: Visitor, coffee: bytes) -> None:
    visitor.token(RIM).click()
    visitor.page.select_option("#partner", f"self {SAUCER}")
    visitor.page.click("#swap")
    assert visitor.edits() == [{"op": "swap", "tokens": [RIM, SAUCER]}]
    assert_drawn(visitor, coffee)
    visitor.drag(visitor.centre(visitor.token(0)), visitor.centre(visitor.token(SHADE)))
    assert visitor.edits()[1] == {"op": "swap", "tokens": [0, SHADE]}
    assert_drawn(visitor, coffee)


def test_moving_a_region_by_dragging_it(visitor: Visitor, server: Server, coffee: bytes) -> None:
    x, y = home_of(server, coffee, RIM)
    visitor.drag(visitor.at((x, y)), visitor.at((x - 3, y + 4)))
    assert visitor.edits() == [{"op": "move", "token": RIM, "dx": -3, "dy": 4}]
    assert_drawn(visitor, coffee)


def test_moving_a_region_by_buttons_and_arrow_keys(visitor: Visitor, coffee: bytes) -> None:
    visitor.token(RIM).click()
    visitor.page.get_by_role("button", name="Move left").click()
    visitor.page.focus("#overlay")
    visitor.page.keyboard.press("ArrowDown")
    visitor.page.keyboard.press("ArrowLeft")
    assert visitor.edits() == [{"op": "move", "token": RIM, "dx": -2, "dy": 1}]
    assert_drawn(visitor, coffee)


def test_painting_a_region(visitor: Visitor, coffee: bytes) -> None:
    visitor.token(RIM).click()
    visitor.page.click("#tool-paint")
    visitor.page.select_option("#brush", "1")
    visitor.drag(visitor.at((2, 9)), visitor.at((4, 9)))
    (edit,) = visitor.edits()
    assert (edit["op"], edit["token"], edit["cells"]) == ("paint", RIM, [[2, 9], [3, 9], [4, 9]])
    assert_drawn(visitor, coffee)
    visitor.page.mouse.move(*visitor.at((4, 9)))
    visitor.page.focus("#overlay")
    visitor.page.keyboard.press("ArrowDown")
    visitor.page.keyboard.press("Space")
    (edit,) = visitor.edits()
    assert edit["cells"][-1] == [4, 10]
    assert_drawn(visitor, coffee)


def test_taking_a_token_of_a_second_photo_by_dragging_it_across(
    visitor: Visitor, server: Server, coffee: bytes, cat: bytes
) -> None:
    visitor.load_second("cat.jpg", cat)
    target = visitor.at(home_of(server, coffee, SHADE))
    visitor.drag(visitor.centre(visitor.token(3, "#second-strip")), target)
    assert visitor.edits() == [{"op": "replace", "token": SHADE, "with": {"donor": 0, "token": 3}}]
    assert_drawn(visitor, coffee, cat)
    visitor.drag(visitor.centre(visitor.token(5, "#second-strip")), visitor.centre(visitor.token(RIM)))
    assert visitor.edits()[1] == {"op": "replace", "token": RIM, "with": {"donor": 0, "token": 5}}
    assert_drawn(visitor, coffee, cat)


def test_a_token_of_the_second_photo_is_offered_by_a_click(
    visitor: Visitor, coffee: bytes, cat: bytes
) -> None:
    visitor.load_second("cat.jpg", cat)
    visitor.token(3, "#second-strip").click()
    expect(visitor.page.locator("#second-note")).to_have_text(
        "First select the token of the photo that it is for."
    )
    visitor.token(SHADE).click()
    visitor.token(3, "#second-strip").click()
    visitor.page.click("#take")
    assert visitor.edits() == [{"op": "replace", "token": SHADE, "with": {"donor": 0, "token": 3}}]
    assert_drawn(visitor, coffee, cat)


def test_blending_with_a_token_of_either_photo(visitor: Visitor, coffee: bytes, cat: bytes) -> None:
    visitor.load_second("cat.jpg", cat)
    visitor.token(SHADE).click()
    visitor.page.select_option("#partner", "second 3")
    visitor.slide("#alpha", 0.3)
    visitor.slide("#alpha", 0.6)
    visitor.token(RIM).click()
    visitor.page.select_option("#partner", f"self {SAUCER}")
    visitor.slide("#alpha", 0.5)
    assert visitor.edits() == [
        {"op": "blend", "token": SHADE, "toward": {"donor": 0, "token": 3}, "alpha": 0.6},
        {"op": "blend", "token": RIM, "toward": {"donor": 1, "token": SAUCER}, "alpha": 0.5},
    ]
    assert_drawn(visitor, coffee, cat, coffee)


def test_showing_a_token_in_the_place_of_another(visitor: Visitor, coffee: bytes) -> None:
    visitor.token(RIM).click()
    visitor.page.select_option("#partner", f"self {SAUCER}")
    visitor.page.click("#take")
    assert visitor.edits() == [{"op": "replace", "token": RIM, "with": {"donor": 0, "token": SAUCER}}]
    assert_drawn(visitor, coffee, coffee)


def test_undo_redo_reset_and_taking_back_one(visitor: Visitor, coffee: bytes) -> None:
    plain = visitor.picture()
    for k in (RIM, SAUCER):
        visitor.token(k).click()
        visitor.page.click("#drop-token")
    both = visitor.edits()
    visitor.page.keyboard.press("Control+z")
    assert visitor.edits() == both[:1]
    visitor.page.keyboard.press("Control+Shift+z")
    assert visitor.edits() == both
    visitor.page.get_by_role("button", name=f"Take back: Drop token {RIM}").click()
    assert visitor.edits() == both[1:]
    assert_drawn(visitor, coffee)
    visitor.page.click("#reset")
    assert visitor.edits() == []
    assert (visitor.picture() == plain).all()
    visitor.page.click("#undo")
    visitor.page.click("#undo")
    assert visitor.edits() == both
    expect(visitor.page.locator("#redo")).to_be_enabled()


def test_slider_divides_before_and_after(visitor: Visitor) -> None:
    plain = visitor.picture()
    visitor.token(RIM).click()
    visitor.page.click("#drop-token")
    visitor.settle()
    visitor.page.select_option("#before-what", "plain")
    assert (visitor.picture("#before") == plain).all()
    visitor.slide("#split", 50)
    clip = visitor.page.locator("#before").evaluate("node => getComputedStyle(node).clipPath")
    assert clip.replace(" ", "").startswith("inset(0")
    assert "50%" in clip
    expect(visitor.page.locator("#tag-before")).to_have_text("No edits")
    visitor.page.select_option("#before-what", "photo")
    assert visitor.picture("#before").shape != plain.shape


def test_pictures_are_enlarged_and_edited_there(visitor: Visitor, server: Server, coffee: bytes) -> None:
    """By wheel, by keys and by buttons; before and after still meet where the slider is."""
    page = visitor.page
    before = visitor.overlay()
    place = visitor.at(home_of(server, coffee, RIM))
    page.mouse.move(*place)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    visitor.until("() => document.querySelector('#zoom-out').disabled === false")
    after = visitor.overlay()
    assert after["width"] > 2 * before["width"]
    page.mouse.click(*place)
    expect(visitor.token(RIM)).to_have_attribute("aria-pressed", "true")
    page.focus("#overlay")
    page.keyboard.press("Alt+ArrowRight")
    assert visitor.overlay()["x"] < after["x"]
    page.keyboard.press("0")
    assert visitor.overlay() == before
    page.click("#zoom-in")
    assert visitor.overlay()["width"] == pytest.approx(1.5 * before["width"])
    for canvas in ("#photo", "#overlay", "#marks"):
        visitor.until(
            "([canvas, width]) => Math.abs(document.querySelector(canvas).width - width) <= 1",
            [canvas, 1.5 * before["width"]],
        )
    visitor.slide("#split", 50)
    # A sixth of the side is hidden at the left.
    shown = page.locator("#before").evaluate("node => getComputedStyle(node).clipPath")
    assert shown == "inset(0px 50% 0px 0px)"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Zoom out").click()
    assert visitor.overlay() == before
    assert visitor.edits() == []


def test_outlines_are_as_thin_on_an_enlarged_picture(visitor: Visitor) -> None:
    def width() -> float:
        """Of the lines that a row of pixels crosses, the median."""
        drawn = visitor.picture("#overlay").any(2)
        edges = np.diff(drawn.astype(int), axis=1, prepend=0, append=0)
        return float(np.median(np.where(edges < 0)[1] - np.where(edges > 0)[1]))

    page = visitor.page
    page.click("#tool-paint")  # without numbers
    before, side = width(), visitor.overlay()["width"]
    for _ in range(3):
        page.click("#zoom-in")
    visitor.until("(width) => Math.abs(document.querySelector('#overlay').width - width) <= 1", 1.5**3 * side)
    assert 2 <= before <= 5
    assert abs(width() - before) <= 1


def test_square_of_a_wide_photo_is_dragged(visitor: Visitor, visit: Visit, tmp_path: Path) -> None:
    """By pointer and keys: in the picture, calls, links, a reload, search, and undo."""
    page, crop = (
        visitor.page,
        visitor.page.get_by_role("slider", name="Part of the photo that the model sees"),
    )
    expect(crop).to_be_hidden()
    wide = encoded(Image.fromarray(pixels_of(photo("rocket"))).resize((900, 300)), "JPEG")
    (tmp_path / "wide.jpg").write_bytes(wide)
    visitor.load_photo("wide.jpg", wide)
    expect(crop).to_have_attribute("aria-valuetext", "the middle")
    middle = visitor.picture()
    box = crop.bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    visitor.drag((box["x"] + box["width"] / 2, y), (box["x"] + box["width"] - 2, y))
    expect(crop).to_have_attribute("aria-valuenow", "100")
    expect(page.locator("#call")).to_contain_text("box=0.6667,0,1,1")
    visitor.settle()

    def drawn(**fields: str) -> Any:
        answer = visitor.server.client.post("/reconstruct", files={"image": wide}, data=fields)
        return pixels_of(answer.content).astype(int)

    assert np.abs(visitor.picture() - drawn(box="0.6667,0,1,1")).max() <= 1
    assert np.abs(middle - drawn()).max() <= 1
    crop.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
        visitor.settle()
    expect(crop).to_have_attribute("aria-valuetext", "70 % of the way from the left")
    expect(crop).to_be_focused()
    expect(page.locator("#call")).to_contain_text("box=0.4667,0,0.8,1")
    # A token of the photo itself is of what the model sees of it.
    visitor.token(RIM).click()
    page.select_option("#partner", f"self {SAUCER}")
    page.click("#take")
    for language in ("curl", "python"):
        assert np.abs(visitor.picture() - drawn_of(visitor, language, tmp_path)).max() <= 1
    with visit(visitor.server) as friend:
        friend.page.goto(page.url)
        tall = encoded(Image.fromarray(pixels_of(photo("rocket"))).resize((300, 900)), "JPEG")
        friend.load_photo("tall.jpg", tall)  # not the one that the link is for
        others = friend.page.get_by_role("slider", name="Part of the photo that the model sees")
        expect(others).to_have_attribute("aria-valuetext", "the middle")
        assert "box" not in friend.call("curl")
        friend.load("renamed.jpg", wide)
        expect(friend.page.locator("#result-note")).to_have_text("after 1 edit")
        assert (friend.picture() == visitor.picture()).all()
    page.reload()
    expect(page.locator("#result-note")).to_have_text("after 1 edit")
    expect(crop).to_have_attribute("aria-valuenow", "70")
    page.keyboard.press("Escape")
    page.click("#tab-search")
    page.click("#search-samples")
    expect(page.locator("#search-note")).to_have_text("6 photos ranked by the whole photo.")
    call = visitor.call("curl", "search-call")
    assert call.count("box=0.4667,0,0.8,1") == 1
    assert call.count("embed -o") == 2
    page.click("#tab-edit")
    page.click("#undo")
    page.click("#undo")
    expect(crop).to_have_attribute("aria-valuenow", "80")
    page.select_option("#fit", "stretch")
    expect(crop).to_be_hidden()


def drawn_of(visitor: Visitor, language: str, folder: Path) -> Any:
    """What the copied call draws."""
    return pixels_of(run_call(language, visitor.call(language), folder)).astype(int)


def test_regions_follow_the_same_rules_as_the_service(visitor: Visitor, coffee: bytes) -> None:
    """Tokens that the page edited itself are drawn as the service draws its own edits."""
    for seed in range(3):
        random = np.random.default_rng(seed)
        a, b, c, d = (int(k) for k in random.permutation(16)[:4])
        every: list[dict[str, Any]] = [
            {
                "op": "move",
                "token": a,
                "dx": int(random.integers(-12, 12)),
                "dy": int(random.integers(-9, 9)),
            },
            {"op": "scale", "token": b, "factor": float(random.uniform(0, 4))},
            {"op": "drop", "token": c},
            {"op": "swap", "tokens": [a, d]},
            {"op": "paint", "token": d, "rectangle": [1, 2, 6, 5]},
            {"op": "drop", "token": d},
            {"op": "blend", "token": a, "toward": {"donor": 0, "token": c}, "alpha": 0.4},
            {"op": "keep", "tokens": [a, b]},
        ]
        edits = every[: 4 + 2 * seed]
        edited = visitor.page.evaluate(
            """async ([edits, base]) => {
                const { Api } = await import(base + "studio/api.js");
                const { applyEdits } = await import(base + "studio/edits.js");
                const { base64OfFloats } = await import(base + "studio/base64.js");
                const file = await (await fetch(base + "studio/samples/coffee.jpg")).blob();
                const { tokens } = await new Api().tokens(file, "stellar-tiny", { fit: "crop" });
                const after = applyEdits(tokens, edits, [tokens]).tokens;
                const [semantics, localization] = [after.semantics, after.localization].map(base64OfFloats);
                return { semantics, localization };
            }""",
            [edits, visitor.server.url + "/"],
        )
        image = visitor.server.client.post("/reconstruct", json={"tokens": edited}).content
        want = drawn_by_api(visitor.server, coffee, edits, coffee).astype(int)
        assert np.abs(pixels_of(image).astype(int) - want).max() <= 1, edits


def test_long_lists_are_shortened_and_what_is_too_long_is_refused(
    visit: Visit, coffee: bytes, tmp_path: Path
) -> None:
    """The page tells what becomes of more edits than the service takes, and never shows a stale picture."""
    with running(tmp_path / "log", {"STELLAR_MAX_EDITS": "4"}) as server, visit(server) as visitor:
        visitor.open()
        page, offer = visitor.page, visitor.page.locator("#offer p")

        def drop(token: int) -> None:
            visitor.token(token).click()
            page.click("#drop-token")

        def move() -> None:
            page.keyboard.press("Escape")
            visitor.token(RIM).click()
            page.get_by_role("button", name="Move right").click()

        for token in (SAUCER, SHADE):
            move()
            drop(token)
        assert len(visitor.edits()) == 4
        expect(offer).to_be_hidden()
        move()
        expect(offer).to_have_text("At most 4 edits are taken: some of the same kind and token became one.")
        drop(0)
        assert visitor.edits() == [
            {"op": "drop", "token": SAUCER},
            {"op": "drop", "token": SHADE},
            {"op": "move", "token": RIM, "dx": 3, "dy": 0},
            {"op": "drop", "token": 0},
        ]
        assert_drawn(visitor, coffee)
        drop(1)
        visitor.settle()
        expect(page.locator("#problem p")).to_have_text(
            "The service takes at most 4 edits. Take one back first."
        )
        edits = visitor.edits()
        assert len(edits) == 4
        assert_drawn(visitor, coffee)
        with page.expect_download():
            page.click("#save-picture")


def test_edits_of_one_kind_are_one_where_that_changes_nothing(visitor: Visitor, coffee: bytes) -> None:
    visitor.page.evaluate(
        """async (base) => {
            const { extended } = await import(base + "studio/edits.js");
            const stroke = (token, ...cells) => ({ op: "paint", token, cells });
            const shown = (token) => ({ op: "replace", token: 1, with: { donor: 0, token } });
            const all = [
                { op: "scale", token: 2, factor: 3 }, stroke(1, [0, 0], [1, 0]), stroke(3, [1, 0], [2, 0]),
                stroke(1, [2, 0]), shown(4), { op: "drop", token: 5 }, shown(6),
                { op: "scale", token: 2, factor: 2 },
            ];
            window.short = all.reduce(extended, []);
        }""",
        visitor.server.url + "/",
    )
    assert visitor.page.evaluate("short") == [
        {"op": "scale", "token": 2, "factor": 2},
        {"op": "paint", "token": 1, "cells": [[0, 0], [2, 0]]},
        {"op": "paint", "token": 3, "cells": [[1, 0]]},
        {"op": "drop", "token": 5},
        {"op": "replace", "token": 1, "with": {"donor": 0, "token": 6}},
    ]


def test_scale_and_blend_show_what_was_done_before(visitor: Visitor, cat: bytes, coffee: bytes) -> None:
    visitor.load_second("cat.jpg", cat)
    visitor.token(RIM).click()
    visitor.slide("#factor", 2)
    visitor.page.select_option("#partner", "second 3")
    visitor.slide("#alpha", 0.5)
    visitor.token(SAUCER).click()
    visitor.page.click("#drop-token")
    visitor.token(RIM).click()
    assert visitor.page.locator("#factor").input_value() == "2"
    assert visitor.page.locator("#alpha").input_value() == "0.5"
    visitor.slide("#factor", 3)
    blend = {"op": "blend", "token": RIM, "toward": {"donor": 0, "token": 3}, "alpha": 0.5}
    assert visitor.edits() == [
        {"op": "scale", "token": RIM, "factor": 3},
        blend,
        {"op": "drop", "token": SAUCER},
    ]
    assert_drawn(visitor, coffee, cat)


def test_fast_strokes_leave_no_gaps(visitor: Visitor) -> None:
    visitor.token(RIM).click()
    visitor.page.click("#tool-paint")
    visitor.page.select_option("#brush", "1")
    mouse = visitor.page.mouse
    mouse.move(*visitor.at((1, 2)))
    mouse.down()
    mouse.move(*visitor.at((9, 6)))
    mouse.up()
    (edit,) = visitor.edits()
    columns = [x for x, _ in edit["cells"]]
    assert columns == list(range(1, 10))
    assert edit["cells"][-1] == [9, 6]


def test_several_that_are_selected_move_and_scale_together(
    visitor: Visitor, server: Server, coffee: bytes
) -> None:
    x, y = home_of(server, coffee, RIM)
    visitor.token(SAUCER).click()
    visitor.token(RIM).click(modifiers=["Shift"])
    visitor.drag(visitor.at((x, y)), visitor.at((x - 2, y + 1)))
    visitor.page.get_by_role("button", name="Move left").click()
    visitor.slide("#factor", 2)
    assert visitor.edits() == [
        {"op": "move", "token": SAUCER, "dx": -3, "dy": 1},
        {"op": "move", "token": RIM, "dx": -3, "dy": 1},
        {"op": "scale", "token": SAUCER, "factor": 2},
        {"op": "scale", "token": RIM, "factor": 2},
    ]
    assert_drawn(visitor, coffee)


def test_focus_stays_where_one_works(visitor: Visitor) -> None:
    page = visitor.page
    for token in (RIM, SAUCER):
        visitor.token(token).click()
        page.focus("#drop-token")
        page.keyboard.press("Enter")
        expect(visitor.token(token)).to_be_focused()
    page.get_by_role("button", name=f"Take back: Drop token {RIM}").press("Enter")
    expect(page.locator("#undo")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Enter")
    expect(page.locator("#redo")).to_be_focused()
    page.locator("#redo").press("Enter")
    page.locator("#reset").press("Enter")
    expect(page.locator("#undo")).to_be_focused()


def test_keys_undo_only_what_is_in_sight(visitor: Visitor) -> None:
    visitor.token(RIM).click()
    visitor.page.click("#drop-token")
    visitor.page.click("#tab-search")
    visitor.page.keyboard.press("Control+z")
    visitor.page.click("#tab-edit")
    assert visitor.edits() == [{"op": "drop", "token": RIM}]


def test_panorama_is_seen_whole_where_one_wants_it(visitor: Visitor, visit: Visit) -> None:
    """The middle, all with margins, or all stretched: in the picture, calls, links, a reload, and undo."""
    page = visitor.page
    expect(page.locator("#fit")).to_be_hidden()  # the sample is square
    wide = encoded(Image.fromarray(pixels_of(photo("rocket"))).resize((900, 220)), "JPEG")
    name = "wide-photos-from-a-camera-may-have-long-names-20260101.jpg"
    visitor.load_photo(name, wide)
    heading = page.locator("#source h2")
    assert heading.evaluate("node => node.scrollWidth <= node.clientWidth")
    visitor.token(RIM).click()
    page.click("#drop-token")
    for fit in ("pad", "stretch"):
        page.select_option("#fit", fit)
        expect(page.locator("#edit-list li")).to_have_count(0)
        visitor.token(RIM).click()
        page.click("#drop-token")
        edits = visitor.edits()
        answer = visitor.server.client.post(
            "/reconstruct", files={"image": wide}, data={"edits": json.dumps(edits), "fit": fit}
        )
        assert np.abs(visitor.picture().astype(int) - pixels_of(answer.content)).max() <= 1
        assert f"fit={fit}" in visitor.call("curl")
        told = float(
            visitor.server.client.post("/reconstruct", content=wide, params={"fit": fit}).headers[PSNR]
        )
        assert visitor.number("psnr") == pytest.approx(told, abs=0.051)
    with visit(visitor.server) as friend:
        friend.page.goto(page.url)
        friend.load(name, wide)
        expect(friend.page.locator("#result-note")).to_have_text("after 1 edit")
        assert (friend.picture() == visitor.picture()).all()
        expect(friend.page.locator("#fit")).to_have_value("stretch")
    page.reload()
    expect(page.locator("#result-note")).to_have_text("after 1 edit")
    expect(page.locator("#fit")).to_have_value("stretch")
    page.click("#undo")
    page.click("#undo")
    expect(page.locator("#fit")).to_have_value("pad")
    assert len(visitor.edits()) == 1
    corner = visitor.picture("#photo")[3, 3].tolist()
    assert corner == [124, 116, 104]

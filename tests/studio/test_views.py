"""Search, compare, and that everybody can use all of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect

from tests.service.photos import encoded, pixels_of
from tests.service.photos import photo as sample
from tests.service.server import running
from tests.studio.conftest import Visit, two_models
from tests.studio.visitor import Visitor, home_of, run_call

COLOURS = ["color-contrast", "link-in-text-block"]
"""Axe's rules that depend on them."""
COLUMN = ("select", "canvas >> nth=0", "canvas >> nth=1")
PHOTOS = {"cup.jpg": "coffee", "rocket.jpg": "rocket", "cat.jpg": "chelsea", "astronaut.jpg": "astronaut"}
"""What they are called in the folder, where no sample has the same name."""


def ranking(visitor: Visitor) -> tuple[list[str], list[float]]:
    cards = visitor.page.locator("#results li")
    names = cards.locator("button").all_text_contents()
    scores = cards.evaluate_all("cards => cards.map((card) => Number(card.dataset.score))")
    return names, scores


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos, with something else in it."""
    made = tmp_path_factory.mktemp("photos")
    for name, photo in PHOTOS.items():
        (made / name).write_bytes(sample(photo))
    (made / "broken.jpg").write_bytes(sample("coffee")[:5000])
    (made / "notes.txt").write_text("no picture")
    return made


def vectors(
    visitor: Visitor, image: bytes, pooling: str
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    answer = visitor.server.client.post("/embed", files={"image": image}, data={"pooling": pooling}).json()
    return np.array(answer["data"][0]["embedding"])


def called(visitor: Visitor, language: str, folder: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The vectors that the call beside the results brings: of the photo, then of each result."""
    answer = run_call(language, visitor.call(language, "search-call"), folder, "vectors.json")
    for made in ("vectors.json", "coffee.jpg"):  # the folder is searched again
        (folder / made).unlink(missing_ok=True)
    return np.array([item["embedding"] for item in json.loads(answer)["data"]])


def assert_mapped(visitor: Visitor, names: list[str]) -> None:
    """The map shows the two principal components of the directions, of the photo first."""
    visitor.page.click("#search-map summary")
    expect(visitor.page.locator(".spot")).to_have_count(len(names) + 1)
    spots = visitor.page.locator(".spot").evaluate_all(
        "spots => spots.map(({ title, style }) =>"
        " [title, ...['--x', '--y'].map((name) => Number(style.getPropertyValue(name)))])"
    )
    assert [title for title, *_ in spots][::-1] == ["What is searched for", *(f"Open {n}" for n in names)]
    every = ["coffee", *(PHOTOS[name] for name in names)]
    rows = np.stack([vectors(visitor, sample(name), "whitened") for name in every])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows -= rows.mean(0)
    want = rows @ np.linalg.svd(rows)[2][:2].T
    got = np.array([place for _, *place in spots][::-1])
    for axis in range(2):
        assert abs(np.corrcoef(got[:, axis], want[:, axis])[0, 1]) > 0.999


def assert_accessible(page: Page) -> None:
    """Axe finds nothing, nor in the dark, where nothing but colours is another."""
    for dark in (False, True):
        page.emulate_media(color_scheme="dark" if dark else "light")
        options = {"resultTypes": ["violations"]} | ({"runOnly": COLOURS} if dark else {})
        found = Axe().run(page, options=options)
        assert found.violations_count == 0, found.generate_report()
    page.emulate_media(color_scheme="light")


def test_folder_is_ranked_by_embed_and_by_a_token(visitor: Visitor, folder: Path, coffee: bytes) -> None:
    page = visitor.page
    page.click("#tab-search")
    page.set_input_files("#search-directory", folder)
    expect(page.locator("#search-note")).to_have_text(
        "4 photos ranked by the whole photo. 2 files could not be read."
    )
    query = vectors(visitor, coffee, "whitened")
    want = {name: float(vectors(visitor, sample(n), "whitened") @ query) for name, n in PHOTOS.items()}
    names, scores = ranking(visitor)
    assert names == sorted(want, key=lambda name: -want[name])
    assert scores == pytest.approx([want[name] for name in names], abs=1e-4)
    first, *others = called(visitor, "curl", folder)
    assert scores == pytest.approx(others @ first, abs=1e-4)

    assert_mapped(visitor, names)

    # Click a thing of the photo: its token is searched for.
    column, row = home_of(visitor.server, coffee, 8)
    box = page.locator(".ask canvas").bounding_box()
    assert box is not None
    page.mouse.click(
        box["x"] + box["width"] * (column + 0.5) / 12, box["y"] + box["height"] * (row + 0.5) / 12
    )
    expect(page.locator("#search-note")).to_contain_text("ranked by token 8")
    expect(page.locator("#search-by")).to_have_value("8")
    expect(page.locator("#search-map")).to_be_hidden()
    row = vectors(visitor, coffee, "concepts")[8]
    want = {name: float((vectors(visitor, sample(n), "concepts") @ row).max()) for name, n in PHOTOS.items()}
    names, scores = ranking(visitor)
    assert names == sorted(want, key=lambda name: -want[name])
    assert scores == pytest.approx([want[name] for name in names], abs=1e-4)
    first, *others = called(visitor, "python", folder)
    assert scores == pytest.approx([(other @ first[8]).max() for other in others], abs=1e-4)
    page.locator("#results canvas").nth(1).click()
    expect(page.locator("#source-size")).to_contain_text(f"{names[1]} ·")


def test_folder_that_is_too_much_at_once_is_read_in_parts(visit: Visit, folder: Path, tmp_path: Path) -> None:
    with running(tmp_path / "log", {"STELLAR_MAX_IMAGES": "2"}) as server, visit(server) as visitor:
        visitor.open()
        visitor.page.click("#tab-search")
        visitor.page.set_input_files("#search-directory", folder)
        expect(visitor.page.locator("#search-note")).to_have_text(
            "4 photos ranked by the whole photo. 2 files could not be read."
        )


def test_folder_that_is_added_twice_is_there_once(visitor: Visitor, folder: Path) -> None:
    visitor.page.click("#tab-search")
    for _ in range(2):
        visitor.page.set_input_files("#search-directory", folder)
        expect(visitor.page.locator("#search-note")).to_have_text(
            "4 photos ranked by the whole photo. 2 files could not be read."
        )
        expect(visitor.page.locator("#results li")).to_have_count(4)


def test_samples_can_be_searched_and_cleared(visitor: Visitor) -> None:
    visitor.page.click("#tab-search")
    visitor.page.click("#search-samples")
    expect(visitor.page.locator("#results li")).to_have_count(6)
    assert ranking(visitor)[0][0] == "coffee.jpg"
    visitor.page.click("#search-clear")
    expect(visitor.page.locator("#results li")).to_have_count(0)


def test_two_models_are_compared_side_by_side(visit: Visit, tmp_path: Path) -> None:
    with two_models(tmp_path) as server, visit(server) as visitor:
        visitor.open()
        page = visitor.page
        page.click("#tab-compare")
        expect(page.locator("#compare-note")).to_have_text("The two reconstructions are the same.")
        expect(page.locator("#compare-alone")).to_be_hidden()
        chosen = page.locator(".column select").evaluate_all("nodes => nodes.map((node) => node.value)")
        assert sorted(chosen) == ["another", "stellar-tiny"]
        image = server.client.get("/studio/samples/coffee.jpg").content
        psnr = float(server.client.post("/reconstruct", content=image).headers["x-stellar-psnr-db"])
        expect(page.locator(".column").first).to_contain_text(f"{psnr:.1f} dB")
        for column in page.locator(".column").all():
            expect(column.locator(".time")).to_contain_text(
                re.compile(r"^\d+ ms *in the service: \d+ to \d+ ms, median of 7$")
            )
        column = page.locator(".column").first
        select, regions, picture = (column.locator(name).bounding_box() for name in COLUMN)
        assert select
        assert regions
        assert picture
        assert select["y"] + select["height"] < regions["y"] == picture["y"]
        for language in ("curl", "python"):
            call = visitor.call(language, "compare-call")
            for name in ("another", "stellar-tiny"):
                drawn = pixels_of(run_call(language, call, tmp_path, f"{name}.png"))
                assert drawn.shape == visitor.picture().shape
                (tmp_path / f"{name}.png").unlink()
        expect(page.locator(".versus figcaption")).to_have_text("They differ nowhere.")
        expect(page.locator("#versus-difference")).to_be_hidden()
        assert_accessible(page)
        # The same place in both: the left one has token 8 there, and so has the right one, the same model.
        plain = visitor.picture(".column canvas >> nth=3")
        place = np.add(home_of(server, image, 8), 0.5) / 12 * (regions["width"], regions["height"])
        page.locator(".column canvas").first.hover(position={"x": place[0], "y": place[1]})
        for held in page.locator(".held").all():
            expect(held).to_have_text(re.compile(r"^Token 8, \d+(\.\d)? % of the picture$"))
        marked = visitor.picture(".column canvas >> nth=3")
        assert (marked != plain).any()
        page.mouse.move(0, 0)
        expect(page.locator(".held").first).to_have_text("Point at a place to see which token holds it.")
        assert (visitor.picture(".column canvas >> nth=3") == plain).all()
        visitor.slide("#versus-split", 20)
        clip = page.locator(".versus .first").evaluate("node => getComputedStyle(node).clipPath")
        assert clip == "inset(0px 80% 0px 0px)"
        page.click("#tab-edit")
        page.select_option("#model", "stellar-tiny")
        visitor.settle()
        page.locator("#strip .token").first.click()
        page.click("#drop-token")
        visitor.settle()
        expect(page.locator("#call")).to_contain_text("model=stellar-tiny")
        page.click("#tab-compare")
        expect(page.locator("#compare-note")).to_have_text(
            "The two reconstructions are the same. Both show the current edits."
        )
        shown = visitor.picture(".column canvas >> nth=1")
        page.click("#tab-edit")
        page.click("#undo")
        page.click("#tab-compare")
        expect(page.locator("#compare-note")).to_have_text("The two reconstructions are the same.")
        assert np.abs(shown.astype(int) - visitor.picture(".column canvas >> nth=1")).max() > 20


def test_pictures_that_differ_are_shown_to_differ_where_they_do(visitor: Visitor) -> None:
    said, levels = visitor.page.evaluate(
        """async (base) => {
            const { Versus } = await import(base + "studio/versus.js");
            const [left, right] = [0, 1].map((i) => {
                const context = new OffscreenCanvas(4, 4).getContext("2d");
                context.fillRect(0, 0, 4, 4);
                context.fillStyle = `rgb(${40 * i} ${20 * i} 0)`;
                context.fillRect(1, 1, 1, 1);
                return context.canvas.transferToImageBitmap();
            });
            const versus = new Versus();
            const said = versus.show(left, right);
            const { data } = versus.difference.getContext("2d").getImageData(0, 0, 4, 4);
            return [`${said} ${versus.legend.textContent}`, [...data].filter((_, i) => i % 4 === 0)];
        }""",
        visitor.server.url + "/",
    )
    assert said == (
        "The two reconstructions differ by 1.25 of 255 levels on average, by 40 at most. "
        "Where they differ: white is 40 of 255 levels."
    )
    assert levels == [255 if i == 5 else 0 for i in range(16)]


def test_compare_says_what_to_do_where_one_model_is_served(visitor: Visitor) -> None:
    visitor.page.click("#tab-compare")
    expect(visitor.page.locator("#compare-alone")).to_contain_text("--precision int8")


def test_axe_finds_nothing(visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_role("button", name="Second photo: a cat").click()
    expect(page.locator("#second-shown")).to_be_visible()
    visitor.token(3).click()
    page.click("#drop-token")
    visitor.token(8).click()
    visitor.slide("#split", 40)
    visitor.load("words.txt", b"no picture at all")
    expect(page.locator("#problem")).to_be_visible()
    assert_accessible(page)
    page.click("#tab-search")
    page.click("#search-samples")
    expect(page.locator("#results li")).to_have_count(6)
    page.select_option("#search-by", "photo")
    page.click("#search-map summary")
    expect(page.locator(".spot")).to_have_count(7)
    assert_accessible(page)
    page.click("#tab-compare")
    assert_accessible(page)
    page.click("#tab-edit")
    page.click("#drawn-by")
    assert_accessible(page)
    page.click("#card-close")
    page.get_by_role("button", name="Open: a cat").click()
    expect(page.locator("#offer")).to_be_visible()
    assert_accessible(page)
    wide = Image.fromarray(pixels_of(sample("rocket"))).resize((600, 300))
    visitor.load_photo("wide.jpg", encoded(wide, "JPEG"))
    expect(page.locator("#crop")).to_be_visible()
    assert_accessible(page)
    page.evaluate("document.querySelector('#key').showModal()")
    assert_accessible(page)


def test_views_are_reached_by_arrow_keys(visitor: Visitor) -> None:
    visitor.page.focus("#tab-edit")
    visitor.page.keyboard.press("ArrowRight")
    expect(visitor.page.locator("#view-search")).to_be_visible()
    expect(visitor.page.locator("#tab-search")).to_be_focused()
    visitor.page.keyboard.press("ArrowLeft")
    expect(visitor.page.locator("#view-edit")).to_be_visible()


def test_pictures_tokens_and_edits_have_names_for_screen_readers(visitor: Visitor) -> None:
    page = visitor.page
    expect(
        page.get_by_role("application", name="coffee.jpg with the regions of its 16 tokens")
    ).to_be_visible()
    page.get_by_role("button", name=re.compile(r"^Token 8, \d+(\.\d)? % of the picture")).click()
    page.get_by_role("button", name="Drop", exact=True).click()
    expect(page.get_by_role("img", name="Reconstruction after 1 edit")).to_be_visible()
    expect(page.locator("#said")).to_have_text("The reconstruction shows 1 edit.")

"""A model whose pictures are higher than wide: 8 × 12 pixels, 2 × 3 patches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from tests.service.photos import encoded, pixels_of
from tests.service.server import Server, running
from tests.service.toy import write_toy
from tests.studio.conftest import Visit
from tests.studio.visitor import Visitor, drawn_by_api

pytestmark = pytest.mark.long

RED, GREEN, BLUE = range(3)
"""Tokens, each of which holds most of what has its colour."""


@pytest.fixture(scope="module")
def tall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tall")
    write_toy(folder / "models" / "toy", patches=(3, 2))
    with running(folder / "log", {}, "--models", str(folder / "models")) as started:
        yield started


def photo_of(width: int, height: int) -> bytes:
    """Red in the upper left cell of the middle, blue in the lower right one, green elsewhere."""
    picture = Image.new("RGB", (width, height), "lime")
    left = (width - height * 2 // 3) // 2
    picture.paste("red", (left, 0, left + height // 3, height // 3))
    picture.paste("blue", (left + height // 3, height * 2 // 3, left + height * 2 // 3, height))
    return encoded(picture, "PNG")


def shape_of(shown: Locator) -> float:
    """Its width over height on the screen."""
    box = shown.bounding_box()
    assert box
    return box["width"] / box["height"]


def test_a_photo_is_shown_in_the_model_s_shape_and_a_click_finds_what_is_there(
    visit: Visit, tall: Server
) -> None:
    photo = photo_of(48, 72)
    with visit(tall) as visitor:
        page = visitor.page
        visitor.open()
        visitor.load_photo("tall.png", photo, "image/png")
        expect(page.locator("#fit")).to_be_hidden()
        for shown in ("#picture-frame", "#result-frame", "#overlay", "#after"):
            assert shape_of(page.locator(shown)) == pytest.approx(2 / 3, abs=0.01)
        assert visitor.picture("#photo").shape[1] / visitor.picture("#photo").shape[0] == pytest.approx(
            2 / 3, abs=0.01
        )
        colours = visitor.picture("#photo")[[100, -100, -100], [50, -50, 50]]
        np.testing.assert_array_equal(colours, 255 * np.eye(3)[[RED, BLUE, GREEN]])
        for cell, token in (((1, 2), BLUE), ((0, 0), RED), ((0, 2), GREEN), ((1, 0), GREEN)):
            page.mouse.click(*middle_of(visitor, cell))
            expect(visitor.token(token)).to_have_attribute("aria-pressed", "true")
            page.keyboard.press("Escape")
        page.mouse.click(*middle_of(visitor, (1, 2)))
        with page.expect_request("**/reconstruct") as sent:
            page.click("#drop-token")
        body = sent.value.post_data_json
        assert body
        assert body["tokens"]["grid"] == [3, 2]
        edits = [{"op": "drop", "token": BLUE}]
        assert visitor.edits() == edits
        assert visitor.picture().shape == (12, 8, 3)
        assert np.abs(visitor.picture().astype(int) - drawn_by_api(tall, photo, edits)).max() <= 1
        page.click("#drawn-by")
        expect(page.locator("#card-facts")).to_contain_text("8 × 12 pixels, in 2 × 3 places")
        page.click("#card-close")
        page.click("#tab-search")
        asked = page.get_by_role("img", name="What is searched for")
        assert shape_of(asked) == pytest.approx(2 / 3, abs=0.01)
        box = asked.bounding_box()
        assert box
        asked.click(position={"x": 0.25 * box["width"], "y": 0.2 * box["height"]})
        expect(page.locator("#search-by")).to_have_value(str(RED))


def test_the_part_of_a_wide_photo_has_the_model_s_shape(visit: Visit, tall: Server) -> None:
    wide = photo_of(96, 48)
    with visit(tall) as visitor:
        visitor.open()
        visitor.load_photo("wide.png", wide, "image/png")
        crop = visitor.page.get_by_role("slider", name="Part of the photo that the model sees")
        expect(crop).to_have_attribute("aria-valuetext", "the middle")
        middle = visitor.picture().astype(int)
        assert np.abs(middle - pixels_of(tall.client.post("/reconstruct", content=wide).content)).max() <= 1
        crop.press("End")
        # A third of its width, at the right end.
        expect(visitor.page.locator("#call")).to_contain_text("box=0.6667,0,1,1")
        visitor.settle()
        answer = tall.client.post("/reconstruct", content=wide, params={"box": "0.6667,0,1,1"})
        assert np.abs(visitor.picture().astype(int) - pixels_of(answer.content)).max() <= 1
        assert np.abs(visitor.picture().astype(int) - middle).max() > 10


def middle_of(visitor: Visitor, cell: tuple[int, int]) -> tuple[float, float]:
    """Of a cell (column, row), in the window."""
    box = visitor.overlay()
    return box["x"] + box["width"] * (cell[0] + 0.5) / 2, box["y"] + box["height"] * (cell[1] + 0.5) / 3

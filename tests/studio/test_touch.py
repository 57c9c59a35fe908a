"""With fingers: who swipes scrolls, who taps selects, who holds or moves what is selected edits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import CDPSession, expect

from tests.service.photos import encoded, photo, pixels_of
from tests.service.server import Server
from tests.studio.conftest import Visit
from tests.studio.visitor import Visitor, home_of

RIM, SAUCER = 2, 11  # of the first sample
STEPS = 10


class Finger:
    """One finger on the glass."""

    def __init__(self, visitor: Visitor) -> None:
        self._page = visitor.page
        self._line: CDPSession = visitor.page.context.new_cdp_session(visitor.page)

    def _touch(self, kind: str, *points: tuple[float, float]) -> None:
        self._line.send(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]}
        )

    def pinch(self, middle: tuple[float, float], start_px: int, end_px: int) -> None:
        """Put down two fingers beside a place, and draw them apart."""
        x, y = middle
        self._touch("touchStart", (x - start_px, y), (x + start_px, y))
        for step in range(1, STEPS + 1):
            reach = start_px + (end_px - start_px) * step / STEPS
            self._touch("touchMove", (x - reach, y), (x + reach, y))
        self._touch("touchEnd")

    def drag(self, start: tuple[float, float], end: tuple[float, float], *, hold_ms: int = 0) -> None:
        """Press, rest, move, lift."""
        self._touch("touchStart", start)
        self._page.wait_for_timeout(hold_ms)
        for step in range(1, STEPS + 1):
            x, y = (a + (b - a) * step / STEPS for a, b in zip(start, end, strict=True))
            self._touch("touchMove", (x, y))
            self._page.wait_for_timeout(16)
        self._touch("touchEnd")


@pytest.fixture
def phone(visit: Visit, server: Server) -> Iterator[Visitor]:
    """Somebody with a phone who sees the first sample."""
    viewport = {"width": 390, "height": 844}
    with visit(server, viewport=viewport, has_touch=True, is_mobile=True) as visitor:
        visitor.open()
        yield visitor


def test_finger_drags_the_square_of_a_wide_photo(phone: Visitor) -> None:
    wide = Image.fromarray(pixels_of(photo("rocket"))).resize((800, 300))
    phone.load_photo("wide.jpg", encoded(wide, "JPEG"))
    box = phone.page.locator("#crop").bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    Finger(phone).drag((box["x"] + box["width"] / 2, y), (box["x"] + 1, y))
    expect(phone.page.locator("#call")).to_contain_text("box=0,0,0.375,1")
    assert phone.page.evaluate("scrollY") == 0


def test_swiping_over_picture_and_tokens_scrolls_and_edits_nothing(phone: Visitor) -> None:
    finger = Finger(phone)
    for place in ("#overlay", "#strip .token[data-token='8']"):
        phone.page.evaluate("scrollTo(0, 0)")
        x, y = phone.centre(phone.page.locator(place))
        finger.drag((x, y), (x, y - 200))
        expect(phone.page.locator("#edit-list li")).to_have_count(0)
        assert phone.page.evaluate("scrollY") > 100
    assert phone.edits() == []


def test_tapping_selects_and_dragging_what_is_selected_moves_it(
    phone: Visitor, server: Server, coffee: bytes
) -> None:
    x, y = home_of(server, coffee, RIM)
    phone.page.touchscreen.tap(*phone.at((x, y)))
    expect(phone.token(RIM)).to_have_attribute("aria-pressed", "true")
    Finger(phone).drag(phone.at((x, y)), phone.at((x - 2, y + 3)))
    assert phone.edits() == [{"op": "move", "token": RIM, "dx": -2, "dy": 3}]
    phone.page.touchscreen.tap(*phone.at(home_of(server, coffee, SAUCER)))
    expect(phone.token(SAUCER)).to_have_attribute("aria-pressed", "true")


def test_two_fingers_enlarge_both_pictures_where_they_lie(phone: Visitor) -> None:
    before = phone.overlay()
    place = before["x"] + before["width"] / 4, before["y"] + before["height"] / 2
    Finger(phone).pinch(place, 15, 45)
    after = phone.overlay()
    assert after["width"] == pytest.approx(3 * before["width"], rel=0.1)
    assert (place[0] - after["x"]) / after["width"] == pytest.approx(1 / 4, abs=0.03)
    assert (place[1] - after["y"]) / after["height"] == pytest.approx(1 / 2, abs=0.03)
    result = phone.page.locator("#after").bounding_box()
    assert result is not None
    assert result["width"] == pytest.approx(after["width"], abs=1)
    assert phone.page.evaluate("visualViewport.scale") == 1
    assert phone.edits() == []


def test_token_that_was_held_is_carried(phone: Visitor) -> None:
    finger = Finger(phone)
    finger.drag(phone.centre(phone.token(0)), phone.centre(phone.token(RIM)), hold_ms=500)
    assert phone.page.evaluate("scrollY") == 0
    assert phone.edits() == [{"op": "swap", "tokens": [0, RIM]}]


def test_painting_with_a_finger(phone: Visitor) -> None:
    phone.page.touchscreen.tap(*phone.centre(phone.token(RIM)))
    phone.page.evaluate("scrollTo(0, 0)")
    phone.page.click("#tool-paint")
    phone.page.select_option("#brush", "1")
    Finger(phone).drag(phone.at((3, 2)), phone.at((3, 5)))
    (edit,) = phone.edits()
    assert edit["cells"] == [[3, 2], [3, 3], [3, 4], [3, 5]]

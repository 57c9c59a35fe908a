"""The same in another browser: its own ways of pictures, pointers and databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from tests.service.photos import encoded, photo, pixels_of
from tests.service.server import Server
from tests.studio.firefox import Firefox
from tests.studio.visitor import drawn_by_api, home_of

RIM = 2  # of the first sample
CONTROL = "\ue009"
DROPPED = [{"op": "drop", "token": RIM}]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    with Firefox(tmp_path_factory.mktemp("firefox") / "profile") as browser:
        yield browser


@pytest.fixture
def firefox(started: Firefox, server: Server) -> Iterator[Firefox]:
    """Somebody with Firefox who sees the first sample; nothing may go wrong.

    The server has a name of its own for each: browsers keep things by name.
    """
    started.resize(1440)
    started.open(f"http://{uuid4().hex}.localhost:{server.port}")
    yield started
    assert started.run("return window.wrong") == []


def drop(firefox: Firefox) -> None:
    firefox.click(f"#strip .token[data-token='{RIM}']")
    firefox.click("#drop-token")


def test_stranger_removes_a_thing_undoes_reloads_shares_and_loses_nothing(
    firefox: Firefox, server: Server, coffee: bytes
) -> None:
    x, y = home_of(server, coffee, RIM)
    firefox.drag(firefox.at((x, y)))
    title = firefox.run("return document.querySelector('#inspector .token-head h2').textContent")
    assert title == f"Token {RIM}"
    firefox.click("#drop-token")
    assert firefox.edits() == DROPPED
    picture = firefox.picture()
    assert np.abs(picture.astype(int) - drawn_by_api(server, coffee, DROPPED)).max() <= 1
    firefox.press(CONTROL, "z")
    assert firefox.edits() == []
    firefox.click("#redo")
    assert firefox.edits() == DROPPED
    firefox.reload()
    assert firefox.edits() == DROPPED
    assert (firefox.picture() == picture).all()
    link = firefox.run("return location.href")
    assert "#edit=" in link
    firefox.click("#reset")
    firefox.settle()
    firefox.open(link.replace("/#", "/?again#"))
    assert firefox.edits() == DROPPED
    assert (firefox.picture() == picture).all()


def test_own_photo_and_its_undone_edits_outlive_a_reload(
    firefox: Firefox, server: Server, cat: bytes, tmp_path: Path
) -> None:
    drop(firefox)
    (tmp_path / "mine.jpg").write_bytes(cat)
    firefox.choose("#file", tmp_path / "mine.jpg")
    named = "return document.querySelector('#source-size').textContent.startsWith(arguments[0])"
    firefox.wait_for(named, "mine.jpg")
    drop(firefox)
    assert firefox.edits() == DROPPED
    picture = firefox.picture()
    firefox.reload()
    firefox.wait_for(named, "mine.jpg")
    assert firefox.edits() == DROPPED
    assert (firefox.picture() == picture).all()
    for _ in range(2):
        firefox.press(CONTROL, "z")
    firefox.wait_for(named, "coffee.jpg")
    assert firefox.edits() == DROPPED


def test_figures_are_those_of_the_service(firefox: Firefox, server: Server, coffee: bytes) -> None:
    """Browsers resize photos each in its own way."""
    firefox.click("#figures summary")
    shown = "return document.querySelector('#psnr').textContent"
    firefox.wait_for(f"{shown}.includes('dB')")
    told = float(server.client.post("/reconstruct", content=coffee).headers["x-stellar-psnr-db"])
    assert firefox.run(shown).startswith(f"{told:.1f} dB")


def test_fast_strokes_leave_no_gaps(firefox: Firefox) -> None:
    firefox.click(f"#strip .token[data-token='{RIM}']")
    firefox.click("#tool-paint")
    firefox.run("document.querySelector('#brush').value = '1'")
    firefox.drag(firefox.at((1, 2)), firefox.at((9, 6)))
    (edit,) = firefox.edits()
    assert [x for x, _ in edit["cells"]] == list(range(1, 10))


def test_square_of_a_tall_photo_is_dragged(firefox: Firefox, tmp_path: Path) -> None:
    pixels = pixels_of(photo("rocket"))
    (tmp_path / "tall.png").write_bytes(encoded(Image.fromarray(pixels).resize((300, 600)), "PNG"))
    firefox.choose("#file", tmp_path / "tall.png")
    firefox.wait_for("return !document.querySelector('#crop').hidden")
    firefox.settle()
    left, top, width, height = firefox.run(
        "const box = document.querySelector('#crop').getBoundingClientRect();"
        " return [box.left, box.top, box.width, box.height]"
    )
    x = left + width / 2
    firefox.drag((x, top + height / 2), (x, top + 2))
    firefox.wait_for("return document.querySelector('#call').textContent.includes('box=0,0,1,0.5')")
    told = firefox.run("return document.querySelector('#crop').getAttribute('aria-valuetext')")
    assert told == "0 % of the way from the top"


def test_page_fits_narrow_and_wide_windows(firefox: Firefox) -> None:
    drop(firefox)
    for width in (500, 768, 1280, 1920):
        firefox.resize(width)
        firefox.wait_for("return innerWidth === arguments[0]", width)
        assert firefox.run("return document.documentElement.scrollWidth - innerWidth") <= 0

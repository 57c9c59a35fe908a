"""What the page hands out works outside it: calls, links, files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, expect
from safetensors.numpy import load_file

from tests.service.photos import pixels_of
from tests.service.server import Server
from tests.studio.conftest import Visit
from tests.studio.visitor import Visitor, drawn_by_api

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


def run_call(language: str, text: str, folder: Path, **variables: str) -> np.ndarray[Any, Any]:
    """Run a call as a developer would, in a folder that holds the photos; what it draws."""
    command = ["bash", "-euc", text] if language == "curl" else [sys.executable, "-W", "ignore", "-c", text]
    environment = os.environ | {"NO_PROXY": "*", "no_proxy": "*"} | variables
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return pixels_of((folder / "out.png").read_bytes())


@pytest.mark.parametrize("language", ["curl", "python"])
def test_calls_draw_what_the_page_shows(visitor: Visitor, cat: bytes, tmp_path: Path, language: str) -> None:
    visitor.load_photo(NAME, cat)
    edit_with_a_second_photo(visitor, cat)
    for name in (NAME, "the cat.jpg"):
        (tmp_path / name).write_bytes(cat)
    drawn = run_call(language, visitor.call(language), tmp_path)
    assert np.abs(drawn.astype(int) - visitor.picture()).max() <= 1


def test_call_for_a_sample_fetches_the_sample(visitor: Visitor, tmp_path: Path) -> None:
    visitor.token(8).click()
    visitor.page.click("#drop-token")
    visitor.settle()
    drawn = run_call("curl", visitor.call("curl"), tmp_path)
    assert np.abs(drawn.astype(int) - visitor.picture()).max() <= 1


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


def test_damaged_link_is_told_and_the_page_works(visit: Visit, server: Server) -> None:
    with visit(server) as visitor:
        visitor.open("/#edit=bm90IGpzb24")
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
        ("#save-tokens", "mine.safetensors"),
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
    assert json.loads(document.read_text())["edits"] == edits

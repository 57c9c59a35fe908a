"""Somebody with a browser: opens the studio, drags and clicks, and looks at what it shows."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import BrowserContext, FloatRect, Page, expect

from tests.service.fleet.cluster import wait_until
from tests.service.server import Server

PICTURE = "canvas => canvas.toDataURL('image/png')"


class Visitor:
    """One tab, and what went wrong in it."""

    def __init__(self, context: BrowserContext, server: Server) -> None:
        self.server = server
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _note(self, kind: str, text: str) -> None:
        # Refused and unanswered requests are told by the browser, too, and by the page where they matter.
        if kind == "error" and "Failed to load resource" not in text:
            self.errors.append(text)

    def open(self, path: str = "/") -> None:
        """Open the studio and wait for the first picture."""
        self.page.goto(self.server.url + path)
        self.settle()

    def settle(self) -> None:
        """Wait until the reconstruction shows the edits."""
        expect(self.page.locator("#strip .token")).not_to_have_count(0)
        expect(self.page.locator("#result-frame")).to_have_attribute("aria-busy", "false")

    def until(self, condition: str, given: object = None) -> None:
        """Wait until a function of the page is true.

        Playwright's own asks again by `eval`, which the page's policy forbids: it fails unless true at once.
        """
        wait_until(lambda: bool(self.page.evaluate(condition, given)))

    def load(self, name: str, data: bytes, field: str = "#file", kind: str = "image/jpeg") -> None:
        """Choose a file."""
        self.page.set_input_files(field, {"name": name, "mimeType": kind, "buffer": data})

    def load_photo(self, name: str, data: bytes, kind: str = "image/jpeg") -> None:
        """Choose a file and wait for its picture."""
        self.load(name, data, kind=kind)
        expect(self.page.locator("#source-size")).to_contain_text(f"{name} ·")
        self.settle()

    def load_second(self, name: str, data: bytes) -> None:
        """Choose a second photo and wait for its tokens."""
        self.load(name, data, "#second-file")
        expect(self.page.locator("#second-photo")).to_have_attribute("aria-label", f"Second photo: {name}")

    def slow_down(self, latency_ms: int, upload_bytes_per_s: int = -1) -> None:
        """Make every request wait, and what is sent go slowly."""
        line = self.page.context.new_cdp_session(self.page)
        slow = {
            "offline": False,
            "latency": latency_ms,
            "downloadThroughput": -1,
            "uploadThroughput": upload_bytes_per_s,
        }
        line.send("Network.emulateNetworkConditions", slow)

    def fragment(self, shared: Mapping[str, object]) -> str:
        """What stands behind # in a link."""
        script = "async (shared) => (await import('/studio/link.js')).fragmentOf(shared)"
        return str(self.page.evaluate(script, shared))

    def edits(self) -> list[dict[str, Any]]:
        """The edits as the API takes them, once they are drawn."""
        self.settle()
        edits: list[dict[str, Any]] = json.loads(self.call("json"))
        return edits

    def call(self, language: str, panel: str = "call") -> str:
        """The call that the page shows."""
        self.page.click(f"#{panel}-{language}")
        return self.page.locator(f"#{panel}").text_content() or ""

    def picture(self, canvas: str = "#after") -> NDArray[np.uint8]:
        """What a canvas shows."""
        self.settle()
        uri = self.page.locator(canvas).evaluate(PICTURE)
        with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as image:
            return np.asarray(image.convert("RGB"))

    def token(self, k: int, strip: str = "#strip") -> Any:
        """A token's card."""
        return self.page.locator(f"{strip} .token[data-token='{k}']")

    def overlay(self) -> FloatRect:
        """Where the photo lies in the window."""
        self.page.evaluate("scrollTo(0, 0)")
        box = self.page.locator("#overlay").bounding_box()
        assert box is not None
        return box

    def at(self, cell: tuple[int, int], grid: int = 12) -> tuple[float, float]:
        """The middle of a cell (column, row) in the window."""
        box = self.overlay()
        return (
            box["x"] + box["width"] * (cell[0] + 0.5) / grid,
            box["y"] + box["height"] * (cell[1] + 0.5) / grid,
        )

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with the mouse, in some steps."""
        mouse = self.page.mouse
        mouse.move(*start)
        mouse.down()
        mouse.move(*end, steps=6)
        mouse.up()

    def centre(self, card: Any) -> tuple[float, float]:
        """The middle of an element."""
        box = card.bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def slide(self, slider: str, value: float) -> None:
        """Drag a slider to a value: it tells of the way and of the end."""
        self.page.locator(slider).evaluate(
            "(node, value) => { node.value = value;"
            "node.dispatchEvent(new Event('input')); node.dispatchEvent(new Event('change')); }",
            str(value),
        )

    def number(self, fact: str) -> float:
        """The number in one of the facts."""
        self.page.locator("#figures").evaluate("node => { node.open = true; }")
        expect(self.page.locator(f"#{fact}")).not_to_contain_text("…")
        text = self.page.locator(f"#{fact}").text_content() or ""
        found = re.match(r"[\d.]+", text)
        assert found, text
        return float(found[0])


def home_of(server: Server, photo: bytes, token: int) -> tuple[int, int]:
    """The cell (column, row) that a token holds most of."""
    answer = server.client.post("/tokens", files={"image": photo}).json()
    maps = np.array(answer["data"][0]["localization"])
    held = np.where(maps.argmax(2) == token, maps[..., token], -1)
    row, column = np.unravel_index(held.argmax(), held.shape)
    assert held[row, column] > 0
    return int(column), int(row)


def drawn_by_api(
    server: Server, photo: bytes, edits: list[dict[str, Any]], *donors: bytes
) -> NDArray[np.uint8]:
    """What the service draws for the same edits, from the photo itself."""
    files = [("image", photo), *(("donor", donor) for donor in donors)]
    answer = server.client.post("/reconstruct", files=files, data={"edits": json.dumps(edits)})
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as image:
        return np.asarray(image.convert("RGB"))


def run_call(language: str, text: str, folder: Path, out: str = "out.png", **variables: str) -> bytes:
    """Run a call as a developer would, in a folder that holds the photos; the file that it writes."""
    command = ["bash", "-euc", text] if language == "curl" else [sys.executable, "-W", "ignore", "-c", text]
    environment = os.environ | {"NO_PROXY": "*", "no_proxy": "*"} | variables
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return (folder / out).read_bytes()

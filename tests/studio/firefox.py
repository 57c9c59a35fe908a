"""Debian's Firefox, driven over Marionette, the protocol that it speaks itself.

Playwright drives a Firefox of its own; by WebDriver BiDi it asks the ESR for commands that it has not.
https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NAMES = ("firefox-esr", "firefox")
START_TIMEOUT_S = 90
WAIT_TIMEOUT_S = 30
PREFERENCES = {
    "marionette.port": 0,  # any free one, told in a file of the profile
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.disabledForTesting": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The name of an element's reference in WebDriver."""
LISTEN = """
window.wrong = [];
addEventListener("error", (event) => window.wrong.push(event.message));
addEventListener("unhandledrejection", (event) => window.wrong.push(String(event.reason)));
"""


def find_firefox() -> str:
    """The browser's file: FIREFOX names it, or it is on the path."""
    found = os.environ.get("FIREFOX") or next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "the studio's tests need Firefox: make firefox"
    return found


class Firefox:
    """A window of its own, with a profile that was never used."""

    def __init__(self, profile: Path) -> None:
        profile.mkdir()
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()
        ]
        (profile / "user.js").write_text("\n".join(lines))
        command = [find_firefox(), "--headless", "--no-remote", "--marionette", "--profile", str(profile)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = self._port(profile / "MarionetteActivePort")
            self._socket = socket.create_connection(("127.0.0.1", port))
            self._stream = self._socket.makefile("rb")
            self._sent = 0
            self._read()
            self._call("WebDriver:NewSession", strictFileInteractability=False)
        except BaseException:
            self._process.kill()
            raise

    def __enter__(self) -> Firefox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._call("Marionette:Quit", flags=["eForceQuit"])
            self._process.wait(30)
        finally:
            self._process.kill()
            self._stream.close()
            self._socket.close()

    def _port(self, file: Path) -> int:
        end = time.monotonic() + START_TIMEOUT_S
        while not (file.exists() and file.read_text()):
            assert self._process.poll() is None, "Firefox ended"
            assert time.monotonic() < end, "Firefox opened no port"
            time.sleep(0.02)
        return int(file.read_text())

    def _read(self) -> Any:
        length = b""
        while (digit := self._stream.read(1)) != b":":
            assert digit, "Firefox hung up"
            length += digit
        return json.loads(self._stream.read(int(length)))

    def _call(self, name: str, **fields: object) -> Any:
        self._sent += 1
        message = json.dumps([0, self._sent, name, fields]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, number, error, result = self._read()
        assert (number, error) == (self._sent, None), error
        return result

    def open(self, url: str) -> None:
        """Go to an address and wait until the picture is there."""
        self._call("WebDriver:Navigate", url=url)
        self.run(LISTEN)
        self.settle()

    def reload(self) -> None:
        """The same page anew."""
        assert self.run("return window.wrong") == []
        self._call("WebDriver:Refresh")
        self.run(LISTEN)
        self.settle()

    def resize(self, width: int, height: int = 1000) -> None:
        """Make the window so large, in pixels; none of Firefox is narrower than 500."""
        self._call("WebDriver:SetWindowRect", width=width, height=height)

    def run(self, script: str, *arguments: object) -> Any:
        """What a script returns; it is waited for a promise."""
        return self._call("WebDriver:ExecuteScript", script=script, args=list(arguments))["value"]

    def wait_for(self, script: str, *arguments: object) -> None:
        """Wait until a script returns something that is true."""
        end = time.monotonic() + WAIT_TIMEOUT_S
        while not self.run(script, *arguments):
            assert time.monotonic() < end, script
            time.sleep(0.02)

    def settle(self) -> None:
        """Wait until the reconstruction shows the edits."""
        self.wait_for(
            "return document.querySelector('#strip .token') !== null"
            " && document.querySelector('#result-frame').getAttribute('aria-busy') === 'false'"
        )

    def click(self, selector: str) -> None:
        """Click an element where it is seen."""
        found = self._call("WebDriver:FindElement", using="css selector", value=selector)["value"]
        self._call("WebDriver:ElementClick", id=found[ELEMENT])

    def choose(self, selector: str, file: Path) -> None:
        """Give a file to an input."""
        found = self._call("WebDriver:FindElement", using="css selector", value=selector)["value"]
        self._call("WebDriver:ElementSendKeys", id=found[ELEMENT], text=str(file))

    def drag(self, *places: tuple[float, float]) -> None:
        """Press the mouse at the first place of the window, go through the others, and let go."""
        moves = [{"type": "pointerMove", "x": round(x), "y": round(y), "duration": 0} for x, y in places]
        actions = [
            moves[0],
            {"type": "pointerDown", "button": 0},
            *moves[1:],
            {"type": "pointerUp", "button": 0},
        ]
        pointer = {"type": "pointer", "id": "mouse", "actions": actions}
        self._call("WebDriver:PerformActions", actions=[pointer])

    def press(self, *keys: str) -> None:
        """Press keys together."""
        actions = [{"type": "keyDown", "value": key} for key in keys]
        actions += [{"type": "keyUp", "value": key} for key in reversed(keys)]
        self._call("WebDriver:PerformActions", actions=[{"type": "key", "id": "keys", "actions": actions}])

    def at(self, cell: tuple[int, int], grid: int = 12) -> tuple[float, float]:
        """The middle of a cell (column, row) of the photo in the window."""
        left, top, side = self.run(
            "scrollTo(0, 0); const box = document.querySelector('#overlay').getBoundingClientRect();"
            " return [box.left, box.top, box.width]"
        )
        return left + side * (cell[0] + 0.5) / grid, top + side * (cell[1] + 0.5) / grid

    def edits(self) -> list[dict[str, Any]]:
        """The edits as the API takes them, once they are drawn."""
        self.settle()
        self.click("#call-json")
        edits: list[dict[str, Any]] = json.loads(
            self.run("return document.querySelector('#call').textContent")
        )
        return edits

    def picture(self, canvas: str = "#after") -> NDArray[np.uint8]:
        """What a canvas shows."""
        self.settle()
        uri: str = self.run("return document.querySelector(arguments[0]).toDataURL('image/png')", canvas)
        with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as image:
            return np.asarray(image.convert("RGB"))

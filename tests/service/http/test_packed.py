"""The studio's files: one script, one style sheet, and addresses that change with what they hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.http.packed import Packed, one_script

APP = """// Says it.
import { say } from "./words.js";
import { Name } from "./name.js";
say(new Name());
"""
WORDS = """const TAIL = "!";
/** Aloud. */
export function say(word) {
  console.log(`${word}${TAIL}`);
}
"""
NAME = """const TAIL = "body";
export class Name {
  // Its own tail.
  toString() {
    return `some${TAIL}`;
  }
}
"""
MODULES = {"app.js": APP, "words.js": WORDS, "name.js": NAME}
STYLES = {"style.css": '@import "base.css";\nb { top: 0 }\n', "base.css": "a { top: 0 }\n"}
PAGE = '<link rel="stylesheet" href="studio/style.css"><script src="studio/app.js"></script>'


def folder_of(path: Path, changed: dict[str, str]) -> Path:
    path.mkdir()
    for name, text in (MODULES | STYLES | {"index.html": PAGE} | changed).items():
        (path / name).write_text(text)
    return path


def test_comments_stay_in_the_files() -> None:
    script = one_script(MODULES, "app.js")
    assert "Aloud" not in script
    assert "TAIL" in script


def test_modules_that_import_one_another_in_a_circle_are_refused() -> None:
    circle = {
        "app.js": APP,
        "words.js": f'import {{ Name }} from "./name.js";\n{WORDS}',
        "name.js": f'import {{ say }} from "./words.js";\n{NAME}',
    }
    with pytest.raises(ValueError, match="cycle"):
        one_script(circle, "app.js")


def test_page_names_its_files_below_what_they_hold(tmp_path: Path) -> None:
    first = Packed(folder_of(tmp_path / "first", {}))
    page, style = first.find("index.html"), first.find(f"{first.version}/style.css")
    assert page is not None
    assert style is not None
    assert page.content.decode().count(f'="studio/{first.version}/') == 2
    assert style.content == b"a { top: 0 }\nb { top: 0 }\n"
    assert first.stays(f"{first.version}/style.css")
    assert not first.stays("style.css")
    again = Packed(folder_of(tmp_path / "again", {}))
    other = Packed(folder_of(tmp_path / "other", {"base.css": "a { top: 1px }\n"}))
    assert first.version == again.version != other.version
    # A page that is still open from before goes on working.
    current = other.find(f"{first.version}/style.css")
    assert current == other.find("style.css")
    assert not other.stays(f"{first.version}/style.css")


def test_every_process_gives_the_same_addresses() -> None:
    """Browsers ask one for what the page of another named."""
    code = "from service.http.routes.pages import STUDIO; print(STUDIO.version)"
    versions = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(versions) == 1

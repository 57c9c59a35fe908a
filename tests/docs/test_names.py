"""What the pages name is there: files, settings, commands, targets, edits, errors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import service.errors
from service.errors import ServiceError
from service.http.options import EmbedOptions, ReconstructOptions, TokensOptions
from service.settings import Settings
from service.tokens.edits import parse_edits
from tests.docs.pages import BLOCK, MADE, PAGES, ROOT
from tests.docs.test_commands import APPS

HISTORY = ROOT / "CHANGELOG.md"
"""It names what is gone, too."""
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w./-]+/[\w.-]+\.(?:py|js|md|toml|yml|yaml|json|webp|svg|png)")
BESIDE = ("", "service", "service/http", "tests/service", "training", "tests/benchmarks/serving")
"""Folders that pages leave out where they are clear."""
TARGETS = set(re.findall(r"^([\w+-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
NAMING = [page for page in PAGES if page != HISTORY]

pages = pytest.mark.parametrize("page", NAMING, ids=lambda page: str(page.relative_to(ROOT)))


def code_of(page: Path) -> list[str]:
    """What stands in code type outside blocks."""
    return CODE.findall(BLOCK.sub("", page.read_text()))


def section(page: Path, heading: str) -> str:
    """The text under a heading."""
    (text,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    return str(text)


@pages
def test_files_are_there(page: Path) -> None:
    for code in code_of(page):
        if FILE.fullmatch(code) and code.split("/")[0] not in MADE | {"LABEL", "RUN"}:
            assert any((ROOT / folder / code).exists() for folder in BESIDE), code


@pages
def test_settings_are_there(page: Path) -> None:
    known = {f"STELLAR_{name.upper()}" for name in Settings.model_fields}
    # The client's own, which is no setting of the service.
    assert set(re.findall(r"STELLAR_[A-Z_]+[A-Z]", page.read_text())) <= known | {"STELLAR_API_KEY"}


@pages
def test_commands_and_targets_are_there(page: Path) -> None:
    for code in code_of(page):
        words = code.split()
        if words[0] == "make" and len(words) > 1 and words[1].isascii():
            assert words[1] in TARGETS, code
        if words[0] in APPS and len(words) > 1 and words[1].isalpha():
            assert words[1] in APPS[words[0]].commands, code


def test_every_setting_has_a_line_with_its_default() -> None:
    page = (ROOT / "docs/run/settings.md").read_text()
    for name, field in Settings.model_fields.items():
        (line,) = re.findall(rf"^\| `STELLAR_{name.upper()}` .*$", page, re.MULTILINE)
        if isinstance(field.default, int | float | str) and not isinstance(field.default, bool):
            assert f"`{field.default}`" in line, name


def test_every_error_has_a_line_with_its_status() -> None:
    errors = section(ROOT / "docs/use/api.md", "Errors")
    told = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", errors, re.MULTILINE))
    kinds = [kind for kind in vars(service.errors).values() if isinstance(kind, type)]
    known = {kind.code: str(kind.status) for kind in kinds if issubclass(kind, ServiceError)}
    for parent in ("bad_image", "unavailable"):  # they only gather others
        del known[parent]
    assert told == known | {"not_found": "404", "method_not_allowed": "405"}  # of the framework


@pytest.mark.parametrize(
    ("heading", "options"),
    [("/embed", EmbedOptions), ("/tokens", TokensOptions), ("/reconstruct", ReconstructOptions)],
)
def test_every_option_has_a_line(heading: str, options: type[EmbedOptions]) -> None:
    page = ROOT / "docs/use/api.md"
    lines = set(re.findall(r"^\| `(\w+)` ", section(page, f"`POST {heading}`"), re.MULTILINE))
    common = set(re.findall(r"^\| `(\w+)` ", section(page, "What is sent"), re.MULTILINE))
    assert lines | common == set(options.model_fields)


def test_edits_of_the_table_are_understood() -> None:
    edits = [code for code in code_of(ROOT / "docs/use/edits.md") if code.startswith('{"op"')]
    whole = [json.loads(edit.replace("[…]", "[0.5]")) for edit in edits]
    assert {edit["op"] for edit in whole} == {edit.op for edit in parse_edits(whole, len(whole))}
    assert len(whole) == 8


def test_the_map_has_every_room() -> None:
    readme = section(ROOT / "README.md", "The map")
    for package in ("service", "training"):
        rooms = [path.name for path in (ROOT / package).iterdir() if (path / "__init__.py").exists()]
        assert [room for room in rooms if f"{room}/" not in readme] == []

"""No link of any page leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import BLOCK, EVERY_PAGE, PAGES, ROOT, anchors_of

LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")


def links_of(page: Path) -> list[str]:
    return [link for link in LINK.findall(BLOCK.sub("", page.read_text())) if "://" not in link]


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_what_there_is(page: Path) -> None:
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors_of(target), link


def test_every_page_is_linked_from_the_readme() -> None:
    """At once or by one step, so that nobody has to search."""
    readme = ROOT / "README.md"
    near = {(ROOT / link.partition("#")[0]).resolve() for link in links_of(readme)}
    assert set(PAGES) - near <= {readme, ROOT / "CHANGELOG.md"}


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200

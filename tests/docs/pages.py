"""The pages of the documentation: their fenced blocks, and what links may point at."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "training/cards").glob("*.md")),
)
"""What a reader follows."""
MADE = {"build", "dist", "models", "pictures", "runs", "work"}
"""Folders that commands leave behind."""
EVERY_PAGE = tuple(
    page
    for top in sorted(ROOT.iterdir())
    if not top.name.startswith(".") and top.name not in MADE
    for page in (sorted(top.rglob("*.md")) if top.is_dir() else [top])
    if page.suffix == ".md"
)
"""All that is written in Markdown."""
BLOCK = re.compile(r"^(?:<!-- not run: (.*?) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENVIRONMENTS = {"kserve": "kserve"} | dict.fromkeys(
    ("haystack", "langchain_openai", "litellm", "llama_index"), "callers"
)
"""Of the packages that `make test` keeps apart: the folder below this environment."""
QUIET = {"HAYSTACK_TELEMETRY_ENABLED": "False", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
"""They call nobody but the service."""
REASONS = {
    *("installs", "needs a bucket", "needs a cluster", "needs a GPU", "needs containers", "needs the hub"),
    "takes long",
}
"""Why a block may not be run."""


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None
    """Why it is not run; None where it is."""

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The page's blocks in their order."""
    text = page.read_text()
    return [
        Block(page, text[: match.start(2)].count("\n") + 1, match[2], match[3], match[1])
        for match in BLOCK.finditer(text)
    ]


def python_blocks(page: Path) -> list[str]:
    """The Python of a page, block by block."""
    return [block.text for block in blocks_of(page) if block.language == "python"]


def run_python(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What becomes of a script in the environment that has the package which it imports."""
    packages = re.findall(r"^(?:import|from) (\w+)", script, re.MULTILINE)
    (environment,) = {ENVIRONMENTS[each] for each in packages if each in ENVIRONMENTS} or {"."}
    return subprocess.run(
        [Path(sys.prefix) / environment / "bin/python", "-c", script],
        cwd=folder,
        env=os.environ | QUIET,
        capture_output=True,
        text=True,
        check=False,
    )


def anchors_of(page: Path) -> set[str]:
    """What a link may name behind `#`: headings, as GitHub makes anchors of them."""
    prose = BLOCK.sub("", page.read_text())
    anchors: list[str] = []
    for heading in re.findall(r"^#+ +(.*)$", prose, re.MULTILINE):
        plain = re.sub(r"\[(.*?)\]\(.*?\)|`", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = sum(1 for each in anchors if re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", each))
        anchors.append(f"{anchor}-{count}" if count else anchor)
    return set(anchors)

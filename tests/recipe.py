"""The code of docs/use/search.md, to run as it stands there."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT, python_blocks

PAGE = ROOT / "docs/use/search.md"

DEFINITIONS, FILLING, SEARCHING, EXAMPLE, PART = python_blocks(PAGE)
COMMANDS = re.findall(r"^stellar-service .*$", PAGE.read_text(), re.MULTILINE)

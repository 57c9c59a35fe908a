"""The code of docs/search.md and of the README's example for it, to run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
PAGE = (ROOT / "docs/search.md").read_text()

DEFINITIONS, FILLING, SEARCHING = PYTHON.findall(PAGE)
(COMMAND,) = re.findall(r"^stellar-service tokens .*$", PAGE, re.MULTILINE)
(EXAMPLE,) = [text for text in PYTHON.findall((ROOT / "README.md").read_text()) if "import lancedb" in text]

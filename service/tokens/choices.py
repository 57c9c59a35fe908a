"""What is chosen for a picture, by its name: clients and commands know these without what does it."""

from __future__ import annotations

from typing import Literal

Fit = Literal["crop", "stretch", "pad"]
"""How a picture gets the model's shape."""

Pooling = Literal["mean", "cls", "tokens", "whitened", "concepts"]
"""The mean of the tokens, the CLS token, or one that is made for search, (D,); every token, or what it shows
beside others of its number, (r, D).
"""

LISTS: frozenset[Pooling] = frozenset({"tokens", "concepts"})
"""Those of several vectors."""

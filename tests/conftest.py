"""What all tests share: reference tensors, sample photos, small models."""

from __future__ import annotations

from pathlib import Path

import pytest

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder with reference tensors."""
    return FIXTURES

"""What all tests share: reference tensors, sample photos, small models."""

from __future__ import annotations

import gc
import os
import ssl
from pathlib import Path

import pytest

# The tests run beside each other, and on small models: threads that wait for work of PyTorch's only burn time
# that the others need. Before anything imports it; processes of the tests inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Each client of httpx would read the file of all authorities, for 20 ms; in OpenSSL's folder it looks up what
# it needs, which is nothing here.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = ssl.get_default_verify_paths().openssl_capath

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder with reference tensors."""
    return FIXTURES


def pytest_xdist_auto_num_workers() -> int:
    """One more than processors: a worker waits for processes half of the time."""
    return (os.cpu_count() or 1) + 1


def pytest_collection() -> None:
    """What is imported for the tests stays: nobody looks, over and over, for what of it could go."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Nor later: each look at a million objects takes longer than most tests."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long starts first: beside it runs the rest, and nothing is left to run alone in the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)

"""Weights to start from: a checkpoint, or a model that has a name."""

from __future__ import annotations

from pathlib import Path

from model import Stellar, load_checkpoint
from training.recipes import NAMED

BUNDLED = "stellar-tiny"
BUNDLED_FILE = Path(__file__).parents[1] / "cards" / f"{BUNDLED}.safetensors"


def file_of(start: str) -> Path:
    """The checkpoint that is meant; the published ones' names are no files."""
    return BUNDLED_FILE if start == BUNDLED else Path(start)


def read_weights(start: str, *, vqgan: str | None = None, num_heads: int | None = None) -> Stellar:
    """The model called `start`, or that of a checkpoint; options as `load_checkpoint` has them.

    Published weights come from the Hugging Face Hub or from its cache, with the VQGAN that they need.
    Raises `ValueError` where there are none, and `CheckpointError`.
    """
    if start in NAMED and start != BUNDLED:
        from model.hub import DownloadError  # only now: it takes a second
        from model.published import fetch_weights

        try:
            return fetch_weights(start).model
        except DownloadError as error:
            raise ValueError(f"init: {error}") from error
    path = file_of(start)
    expected = f"expected a checkpoint, or one of {', '.join(NAMED)}"
    if (path / "bundle.json").is_file():
        raise ValueError(f"init: {path} is a bundle, whose graphs only serve; {expected}")
    if not path.exists():
        raise ValueError(f"init: no file is called {path}; {expected}")
    if vqgan is not None and not Path(vqgan).is_file():
        raise ValueError(f"vqgan: no file is called {vqgan}; expected the VQGAN's weights")
    return load_checkpoint(path, vqgan=vqgan, num_heads=num_heads)

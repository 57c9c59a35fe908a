"""What was measured of a bundle's vectors over many pictures, as its file has it.

r sparse tokens · D width
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from service.runtime.bundle import STATISTICS, Bundle, BundleError
from service.runtime.reference import expect
from service.tokens.pooling import Statistics


def read_statistics(bundle: Bundle) -> Statistics | None:
    """The bundle's statistics, where it has some. Raises `BundleError` where they don't fit the manifest."""
    manifest = bundle.manifest
    if manifest.statistics is None:
        return None
    try:
        arrays = load_file(bundle.folder / STATISTICS)
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{manifest.name}: {STATISTICS} can't be read: {error}") from error
    r, width = manifest.num_sparse_tokens, manifest.width

    def array(name: str, *shape: int) -> NDArray[Any]:
        where = f"{manifest.name}: {STATISTICS}: {name}"
        found = expect(where, arrays.get(name), shape, np.dtype(np.float32))
        if not np.isfinite(found).all():
            raise BundleError(f"{where}: expected finite numbers")
        return found

    return Statistics(
        token_means=array("token_means", r, width),
        pooled=manifest.statistics.pooled,
        center=array("center", width),
        whitening=array("whitening", width, width),
    )

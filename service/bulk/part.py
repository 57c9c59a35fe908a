"""A shard's table: ids, vectors, and tokens on demand.

n rows · h, w grid · r sparse tokens · D width
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from service.bulk.table import ROWS_AT_ONCE
from service.errors import ServiceError
from service.runtime.bundle import Manifest
from service.runtime.engine import OUTPUTS, VECTORS, Arrays
from service.tokens.box import WHOLE, Box, box_text
from service.tokens.choices import LISTS, Fit, Pooling
from service.tokens.pictures import Source
from service.tokens.pooling import normalized
from service.tokens.token_file import shares_to_uint8


class Layout:
    """The columns of a job's tables.

    | column | |
    |---|---|
    | `id` | text |
    | `embedding` | float32 (D), or (r, D) for the poolings `tokens` and `concepts`; of length 1 |
    | `semantics` | float16 (r, D) |
    | `localization` | uint8 (h, w, r), as compact token files have it |
    | `rectangle` | float32 (4): what the model saw of the picture; left, top, right, bottom in its pixels |
    | `width`, `height` | int32: the upright picture's |

    The last five are there with `tokens` alone. The metadata has model, pooling, fit and box.
    """

    def __init__(
        self, manifest: Manifest, *, pooling: Pooling, fit: Fit, box: Box = WHOLE, tokens: bool
    ) -> None:
        r, width = manifest.num_sparse_tokens, manifest.width
        self._vector = VECTORS[pooling]
        self._tokens = tokens
        self.outputs = tuple(dict.fromkeys((self._vector, *(OUTPUTS["encode"] if tokens else ()))))
        """What the rows are made of, of all that the encoder gives."""
        self._grid = manifest.grid
        shape = (r, width) if pooling in LISTS else (width,)
        columns = {"id": pa.string(), "embedding": _lists(pa.float32(), shape)}
        if tokens:
            columns |= {
                "semantics": _lists(pa.float16(), (r, width)),
                "localization": _lists(pa.uint8(), (*manifest.grid, r)),
                "rectangle": _lists(pa.float32(), (4,)),
                "width": pa.int32(),
                "height": pa.int32(),
            }
        self.schema = pa.schema(
            columns, {"model": manifest.id, "pooling": pooling, "fit": fit, "box": box_text(box)}
        )

    def rows(self, ids: Sequence[str], sources: Sequence[Source], encoded: Arrays) -> pa.RecordBatch:
        """The rows of n pictures and of what the encoder made of them."""
        floats = {name: array.astype(np.float32) for name, array in encoded.items()}
        arrays: dict[str, NDArray[Any]] = {"embedding": normalized(floats[self._vector])}
        if self._tokens:
            arrays |= {
                "semantics": floats["semantics"].astype(np.float16),
                "localization": shares_to_uint8(floats["localization"].reshape(len(ids), *self._grid, -1)),
                "rectangle": np.array([source.rectangle for source in sources], np.float32),
                "width": np.array([source.width for source in sources], np.int32),
                "height": np.array([source.height for source in sources], np.int32),
            }
        columns = [pa.array(ids, pa.string()), *map(_column, arrays.values())]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


class Part:
    """A shard's rows on their way into a Parquet file, and its errors."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        # Numbers of networks hardly repeat, so dictionaries are of use for places alone.
        self._writer = pq.ParquetWriter(
            file, schema, compression="zstd", use_dictionary=["localization" + 3 * ".list.element"]
        )
        self._schema = schema
        self._held: list[pa.RecordBatch] = []
        self.rows = 0
        self.errors: list[dict[str, str]] = []

    def add(self, rows: pa.RecordBatch) -> None:
        """Take rows; they are written some hundred at a time."""
        self._held.append(rows)
        self.rows += len(rows)
        if sum(map(len, self._held)) >= ROWS_AT_ONCE:
            self._flush()

    def fail(self, row: str, error: ServiceError) -> None:
        """Note why a row has no vector."""
        self.errors.append({"id": row, "code": error.code, "detail": error.detail})

    def __enter__(self) -> Part:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._held, self._schema))
        self._held.clear()


def _lists(kind: pa.DataType, shape: Sequence[int]) -> pa.DataType:
    """Arrays of a shape: lists of lists."""
    for size in reversed(shape):
        kind = pa.list_(kind, size)
    return kind


def _column(array: NDArray[Any]) -> pa.Array:
    """Arrays (n, …) as a column of n."""
    column = pa.array(np.ascontiguousarray(array).reshape(-1))
    for size in reversed(array.shape[1:]):
        column = pa.FixedSizeListArray.from_arrays(column, size)
    return column

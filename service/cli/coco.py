"""Tokens' regions as masks in a COCO file, which most programs that show and label pictures read.

Each picture is an image, each token a category by its number, each region an annotation: its mask as run
lengths at the size of the upright picture, `area`, `bbox`, and as `score` what the token holds there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pycocotools import mask as rle

from service.bulk.table import clear_killed, written_whole
from service.client.stream import progress_bar
from service.tokens.box import Box, parse_box, pixels_of
from service.tokens.names import escaped
from service.tokens.pictures import Source
from service.tokens.regions import regions
from service.tokens.token_file import shares_of_uint8, source_of, unpack_row

Kind: TypeAlias = tuple[pa.DataType, int]
"""What a column holds, and in lists of how many levels."""
OF_TOKENS: dict[str, Kind] = {"path": (pa.string(), 0), "tokens": (pa.binary(), 0)}
OF_BULK: dict[str, Kind] = {
    "id": (pa.string(), 0),
    "localization": (pa.uint8(), 3),
    "rectangle": (pa.float32(), 1),
    "width": (pa.int32(), 0),
    "height": (pa.int32(), 0),
}
"""Columns of the tables that are read."""
FIRST = 1
"""Id of token 0: some readers keep category 0 for what is nothing."""


class Tables:
    """A table that `tokens` has written, or all tables of a job of `bulk --tokens`."""

    def __init__(self, source: Path) -> None:
        """Raises `ValueError` where they are others, of several models, or empty."""
        self.paths = sorted((source / "parts").glob("*.parquet")) if source.is_dir() else [source]
        models, self.rows = set(), 0
        for path in self.paths:
            with path.open("rb") as file:
                table = _opened(file, path)
                models.add(_metadata(table, "model"))
                self.rows += table.metadata.num_rows
        if not self.rows:
            raise ValueError(f"{escaped(str(source))} has no rows: expected what tokens or bulk has written")
        if len(models) > 1:
            raise ValueError(
                f"{escaped(str(source))} has tokens of several models: {', '.join(sorted(models))}"
            )
        (self.model,) = models

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.float32], Source]]:
        """Each picture's name, its localization (h, w, r), and what the model saw of it.

        Raises `ValueError` where a table is damaged.
        """
        for path in self.paths:
            with path.open("rb") as file:
                table = _opened(file, path)
                try:
                    yield from _rows(table)
                except (OSError, ValueError, pa.ArrowException) as error:
                    raise ValueError(f"{escaped(str(path))}: {error}") from None


def write_masks(source: Path, out: Path) -> int:
    """Write the COCO file of the tables in `source`; the number of pictures.

    Raises `OSError`, and `ValueError` for other tables, or where `out` is no place for a file.
    """
    tables = Tables(source)
    if any(out.exists() and path.samefile(out) for path in tables.paths):
        raise ValueError(f"--out: {escaped(str(out))} is read itself and would be replaced: name another")
    images: list[dict[str, Any]] = []
    tokens = annotation = 0
    clear_killed([out])
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(out) as file, progress_bar(shown=True) as bar:
        file.write(b'{"annotations":[')
        for name, localization, seen in bar.track(tables, tables.rows, description="masks"):
            images.append(
                {"id": len(images) + 1, "file_name": name, "width": seen.width, "height": seen.height}
            )
            tokens = max(tokens, localization.shape[2])
            for region in regions(localization, seen):
                file.write(b",\n" if annotation else b"\n")
                annotation += 1
                size = [seen.height, seen.width]
                mask = rle.frPyObjects({"size": size, "counts": region.counts}, *size)
                about = {
                    "id": annotation,
                    "image_id": len(images),
                    "category_id": FIRST + region.token,
                    "segmentation": {"size": size, "counts": mask["counts"].decode()},
                    "area": int(rle.area(mask)),
                    "bbox": rle.toBbox(mask).tolist(),
                    "iscrowd": 0,
                    "score": region.share,
                }
                file.write(orjson.dumps(about))
        rest = {
            "images": images,
            "categories": [{"id": FIRST + token, "name": f"token {token}"} for token in range(tokens)],
            "info": {"description": f"Regions of the tokens of {tables.model}"},
        }
        file.write(b"],\n" + orjson.dumps(rest)[1:])
    return len(images)


def _opened(file: IO[bytes], path: Path) -> pq.ParquetFile:
    expected = f"{escaped(str(path))}: expected a table that tokens or bulk --tokens has written"
    try:
        table = pq.ParquetFile(file)
    except (OSError, pa.ArrowException):
        raise ValueError(expected) from None
    schema = table.schema_arrow
    if not {b"model", b"box"} <= (schema.metadata or {}).keys():
        raise ValueError(f"{expected}, whose metadata tell model and box")
    columns = next((each for each in (OF_TOKENS, OF_BULK) if each.keys() <= set(schema.names)), None)
    if columns is None:
        raise ValueError(
            f"{expected}, with {', '.join(OF_TOKENS)} or {', '.join(OF_BULK)}; got {', '.join(schema.names)}"
        )
    for name, kind in columns.items():
        if [_kind(schema.types[i]) for i in schema.get_all_field_indices(name)] != [kind]:
            raise ValueError(f"{expected}; this one's {name} is of another type")
    return table


def _kind(of: pa.DataType) -> Kind:
    levels = 0
    while pa.types.is_fixed_size_list(of):
        of, levels = of.value_type, levels + 1
    return of, levels


def _metadata(table: pq.ParquetFile, name: str) -> str:
    value: bytes = table.schema_arrow.metadata[name.encode()]
    return value.decode(errors="replace")


def _rows(table: pq.ParquetFile) -> Iterator[tuple[str, NDArray[np.float32], Source]]:
    """Raises `OSError`, `ValueError` and `ArrowException` for what is damaged."""
    columns = OF_TOKENS if OF_TOKENS.keys() <= set(table.schema_arrow.names) else OF_BULK
    box = parse_box(_metadata(table, "box"))
    for batch in table.iter_batches(64, columns=list(columns)):
        if empty := [name for name in columns if batch[name].null_count]:
            raise ValueError(f"expected no nulls, got some in {', '.join(empty)}")
        yield from _of_tokens(batch) if columns is OF_TOKENS else _of_bulk(batch, box)


def _of_tokens(batch: pa.RecordBatch) -> Iterator[tuple[str, NDArray[np.float32], Source]]:
    for name, packed in zip(*(batch[column].to_pylist() for column in OF_TOKENS), strict=True):
        image = unpack_row(packed)
        yield name, image.localization, image.source


def _of_bulk(batch: pa.RecordBatch, box: Box) -> Iterator[tuple[str, NDArray[np.float32], Source]]:
    names, places, *sources = (batch[column] for column in OF_BULK)
    for name, levels, rectangle, width, height in zip(
        names.to_pylist(), _array(places), *(column.to_pylist() for column in sources), strict=True
    ):
        seen = source_of(width, height, rectangle)
        yield name, shares_of_uint8(levels), replace(seen, box=pixels_of(box, width, height))


def _array(column: pa.Array) -> NDArray[np.uint8]:
    """A column of lists of lists as an array (n, …). Raises `ValueError` where something in it is null."""
    shape = [len(column)]
    while pa.types.is_fixed_size_list(column.type):
        shape.append(column.type.list_size)
        column = column.flatten()
    return column.to_numpy().reshape(shape)  # type: ignore[no-any-return]

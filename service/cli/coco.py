"""Tokens' regions as masks in a COCO file, which most programs that show and label pictures read.

Each picture is an image, each token a category by its number, each region an annotation: its mask as run
lengths at the size of the upright picture, `area`, `bbox`, and as `score` what the token holds there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pycocotools import mask as rle

from service.bulk.table import clear_killed, written_whole
from service.client import unpack
from service.client.stream import progress_bar
from service.tokens.box import Box, parse_box, pixels_of
from service.tokens.names import escaped
from service.tokens.pictures import Source
from service.tokens.regions import regions
from service.tokens.token_file import shares_of_uint8

OF_TOKENS = ("path", "tokens")
OF_BULK = ("id", "localization", "rectangle", "width", "height")
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
        """Each picture's name, its localization (h, w, r), and what the model saw of it."""
        for path in self.paths:
            with path.open("rb") as file:
                table = _opened(file, path)
                columns = OF_TOKENS if "tokens" in table.schema_arrow.names else OF_BULK
                for batch in table.iter_batches(64, columns=columns):
                    if columns == OF_TOKENS:
                        yield from _of_tokens(batch)
                    else:
                        yield from _of_bulk(batch, parse_box(_metadata(table, "box")))


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
            tokens = localization.shape[2]
            for region in regions(localization, seen):
                file.write(b",\n" if annotation else b"\n")
                annotation += 1
                mask = rle.encode(region.mask)
                about = {
                    "id": annotation,
                    "image_id": len(images),
                    "category_id": FIRST + region.token,
                    "segmentation": {"size": mask["size"], "counts": mask["counts"].decode()},
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
    except pa.ArrowException:
        raise ValueError(expected) from None
    names, metadata = table.schema_arrow.names, table.schema_arrow.metadata or {}
    if not {b"model", b"box"} <= metadata.keys():
        raise ValueError(f"{expected}, whose metadata tell model and box")
    if not any(set(columns) <= set(names) for columns in (OF_TOKENS, OF_BULK)):
        raise ValueError(
            f"{expected}, with {', '.join(OF_TOKENS)} or {', '.join(OF_BULK)}; got {', '.join(names)}"
        )
    return table


def _metadata(table: pq.ParquetFile, name: str) -> str:
    value: bytes = table.schema_arrow.metadata[name.encode()]
    return value.decode()


def _of_tokens(batch: pa.RecordBatch) -> Iterator[tuple[str, NDArray[np.float32], Source]]:
    for name, packed in zip(*(batch[column].to_pylist() for column in OF_TOKENS), strict=True):
        (image,) = unpack(packed)
        yield name, image.localization, image.source


def _of_bulk(batch: pa.RecordBatch, box: Box) -> Iterator[tuple[str, NDArray[np.float32], Source]]:
    for name, places, rectangle, width, height in zip(
        *(batch[column].to_pylist() for column in OF_BULK), strict=True
    ):
        part = pixels_of(box, width, height)
        seen = Source(width=width, height=height, rectangle=tuple(rectangle), box=part)
        yield name, shares_of_uint8(np.array(places, np.uint8)), seen

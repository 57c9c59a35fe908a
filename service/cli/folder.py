"""What the command line does to a folder of pictures, by a client of a service elsewhere or here."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray
from PIL import Image

from service.bulk.table import check_place, clear_killed, table, written_whole
from service.client import AsyncStellarClient, ImageTokens, Result, pack
from service.client.served import Served
from service.tokens.box import Box, box_text
from service.tokens.choices import LISTS, Fit, Pooling
from service.tokens.files import pictures_within
from service.tokens.names import escaped
from service.tokens.pictures import SUFFIXES
from service.tokens.token_file import unpack_row

P = TypeVar("P")
T = TypeVar("T")


@asynccontextmanager
async def job(
    server: str | None, *, api_key: str | None, model: str | None, concurrency: int
) -> AsyncIterator[Job]:
    """A job with a client of the service at `server`, or in this process where it is None.

    Raises `StellarError`, and `ValueError` for settings, models and names that can't be used.
    """
    async with (
        _transport(server) as transport,
        AsyncStellarClient(
            server or "http://localhost",
            api_key=api_key,
            model=model,
            concurrency=concurrency,
            transport=transport,
        ) as client,
    ):
        try:
            served = (await client.models()).find(model)
        except KeyError as error:
            raise ValueError(error.args[0]) from None
        yield Job(client, served)


@asynccontextmanager
async def _transport(server: str | None) -> AsyncIterator[httpx.AsyncBaseTransport | None]:
    """The way to the application in this process; None, httpx's own, to a server."""
    if server is not None:
        yield None
        return
    try:
        from service.http.app import create_app
        from service.settings import read_settings
        from service.watch.logs import configure_logs
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{error.name} is missing: pip install 'stellar-service[cpu]', or name a --server"
        ) from None
    configure_logs("warning", "auto")
    app = create_app(read_settings(api_keys=None, api_keys_file=None))
    async with app.router.lifespan_context(app):
        await app.state.models.loaded()
        if app.state.models.reason is not None:
            raise ValueError(app.state.models.reason)
        yield httpx.ASGITransport(app)


class Job:
    """A command's work; tells of pictures that fail on standard error and goes on."""

    def __init__(self, client: AsyncStellarClient, served: Served) -> None:
        self._client = client
        self._served = served
        self.done = 0
        self.failed = 0

    async def embed(self, source: Path, out: Path, pooling: Pooling | None, fit: Fit, box: Box) -> None:
        """Write path and embedding of each picture: D numbers, or r times D."""
        if pooling is None:
            pooling = self._served.poolings[0]  # type: ignore[assignment]  # a newer one's is sent as it is
        kind = pa.list_(pa.float32(), self._served.width)
        if pooling in LISTS:
            kind = pa.list_(kind, self._served.num_sparse_tokens)
        metadata = {"model": self._served.id, "pooling": pooling, "fit": fit, "box": box_text(box)}
        names, paths = _pictures(source)
        _spare(paths, [out])
        results = self._client.embed_all(paths, pooling=pooling, fit=fit, box=box, progress=True)
        with table(out, pa.schema({"path": pa.string(), "embedding": kind}, metadata)) as add:

            def keep(name: str, vector: NDArray[np.float32]) -> None:
                add({"path": name, "embedding": vector.tolist()})

            await self._each(names, results, keep)

    async def tokens(self, source: Path, out: Path, fit: Fit, box: Box) -> None:
        """Write path and tokens of each picture, the latter as a compact safetensors file."""
        names, paths = _pictures(source)
        _spare(paths, [out])
        results = self._client.tokens_all(paths, storage="compact", fit=fit, box=box, progress=True)
        schema = pa.schema(
            {"path": pa.string(), "tokens": pa.binary()},
            {"model": self._served.id, "fit": fit, "box": box_text(box)},
        )
        with table(out, schema) as add:

            def keep(name: str, tokens: ImageTokens) -> None:
                add({"path": name, "tokens": pack([tokens], "compact")})

            await self._each(names, results, keep)

    async def reconstruct(
        self, source: Path, out: Path, edits: str, donors: Sequence[Path], fit: Fit, box: Box
    ) -> None:
        """Draw each picture, or each row of a table that `tokens` has written, into the folder `out`.

        Raises `ValueError` where that would replace a picture, or two would be drawn to one file.
        """
        try:
            decoded = json.loads(edits)
        except ValueError as error:
            raise ValueError(f"--edits: expected a list of edits in JSON: {error}") from None

        results: AsyncGenerator[Result[Any, Image.Image], None]
        if source.suffix == ".parquet":
            rows = _TokenTable(source, self._served)
            names, taken = rows.names, [source, *donors]
            results = self._client.reconstruct_all(rows, edits=decoded, donors=donors, progress=True)
        else:
            names, paths = _pictures(source)
            taken = [*paths, *donors]
            results = self._client.reconstruct_all(
                paths, edits=decoded, donors=donors, fit=fit, box=box, progress=True
            )
        drawn = _drawn(names, out)
        _spare(taken, drawn.values())
        clear_killed(drawn.values())

        def keep(name: str, image: Image.Image) -> None:
            drawn[name].parent.mkdir(parents=True, exist_ok=True)
            with written_whole(drawn[name]) as file:
                image.save(file, "PNG")

        await self._each(names, results, keep)

    async def _each(
        self,
        names: Sequence[str],
        results: AsyncGenerator[Result[P, T], None],
        keep: Callable[[str, T], None],
    ) -> None:
        """Keep every result under its name; tell of those that failed, and count both."""
        following = iter(names)
        async with aclosing(results):
            async for result in results:
                name = next(following)
                if result.error is not None:
                    self.failed += 1
                    typer.echo(f"{name}: {result.error}", err=True)
                else:
                    keep(name, result.value)
                    self.done += 1


class _TokenTable:
    """The rows of a table that `Job.tokens` has written."""

    def __init__(self, path: Path, served: Served) -> None:
        """Raises `ValueError` where it is another table, or one of another model."""
        shown = escaped(str(path))
        try:
            self._file = pq.ParquetFile(path.open("rb"))  # Arrow itself opens no names that are not UTF-8
            schema, paths = self._file.schema_arrow, self._file.read(["path"])["path"]
            types = [schema.field(name).type for name in ("path", "tokens")]
            model = schema.metadata[b"model"].decode(errors="replace")
            self.names: list[str] = paths.to_pylist()
            sound = types == [pa.string(), pa.binary()] and not paths.null_count
        except (pa.ArrowException, KeyError, TypeError):
            sound = False
        if not sound:
            raise ValueError(f"{shown}: expected a table that stellar-service tokens has written")
        if model != served.id:
            raise ValueError(
                f"{shown} has tokens of {model}, which {served.id} can't draw; name it by --model"
            )
        for name in self.names:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"{shown}: expected paths within a folder, got {name!r}")

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[ImageTokens]:
        for batch in self._file.iter_batches(batch_size=64, columns=["tokens"]):
            for value in batch["tokens"].to_pylist():
                yield unpack_row(value)


def _drawn(names: Sequence[str], out: Path) -> dict[str, Path]:
    """The file to draw each name's picture to. Raises `ValueError` where two would share one."""
    files: dict[Path, str] = {}
    for name in names:
        file = out / (name if name.lower().endswith(".png") else f"{name}.png")
        if file in files:
            raise ValueError(f"{files[file]} and {name} would both be drawn to {file}: rename one of them")
        files[file] = name
    return {name: file for file, name in files.items()}


def _spare(taken: Iterable[Path], files: Collection[Path]) -> None:
    """Raise `ValueError` where a file to write would take the place of one that is read, or of no file."""
    inputs = {(found.st_dev, found.st_ino) for found in (path.stat() for path in taken if path.exists())}
    for file in files:
        check_place(file)
        if file.exists() and ((found := file.stat()).st_dev, found.st_ino) in inputs:
            raise ValueError(
                f"--out: {escaped(str(file))} is read itself and would be replaced: name another"
            )


def _pictures(source: Path) -> tuple[list[str], list[Path]]:
    """Names within `source` in their order, escaped, and the files; of a lone file its name.

    What else a folder holds is told on standard error. Raises `ValueError` where there is no picture.
    """
    if source.is_file():
        return [escaped(source.name)], [source]
    names, left_out = pictures_within(source)
    line = left_out.line()
    if not names:
        expected = f"expected files with {', '.join(sorted(SUFFIXES))}" + (line and f"; {line}")
        raise ValueError(f"{escaped(str(source))} has no pictures: {expected}")
    if line:
        typer.echo(line, err=True)
    return list(map(escaped, names)), [source / name for name in names]

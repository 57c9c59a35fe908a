"""The command line's part that works on many pictures: with a service, in this process, or on a cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from service.tokens.box import Box, parse_box
from service.tokens.choices import Fit, Pooling
from service.tokens.names import escaped

if TYPE_CHECKING:
    from service.cli.folder import Job

Source = Annotated[
    Path, typer.Argument(help="Folder of pictures, at any depth, or one picture.", exists=True)
]
Table = Annotated[Path, typer.Option(help="Parquet file to write.", dir_okay=False)]
Server = Annotated[
    str | None,
    typer.Option(help="Address of a service, such as http://host:8000.", show_default="this process"),
]
ApiKey = Annotated[str | None, typer.Option(help="The service's API key.", envvar="STELLAR_API_KEY")]
Model = Annotated[
    str | None, typer.Option(help="Model, by name or name@version.", show_default="the default one")
]
Fitted = Annotated[Fit, typer.Option(help="How a picture gets the model's shape.")]
Part = Annotated[
    str, typer.Option(help="Part of each picture that is seen: left,top,right,bottom, from 0 to 1.")
]
Vector = Annotated[
    Pooling | None,
    typer.Option(
        help="Mean of the tokens, CLS token, one of them whitened for search, all tokens, or all concepts.",
        show_default="the model's own choice",
    ),
]
Concurrency = Annotated[int, typer.Option(help="Pictures on their way at any time.", min=1)]


def embed(
    source: Source,
    out: Table,
    pooling: Vector = None,
    server: Server = None,
    api_key: ApiKey = None,
    model: Model = None,
    fit: Fitted = "crop",
    box: Part = "0,0,1,1",
    concurrency: Concurrency = 8,
) -> None:
    """Write a vector for each picture of a folder into a Parquet file.

    Columns: path (within the folder) and embedding, of length 1. Pictures that can't be read are named on
    standard error and left out; the exit code is then 1. The file appears when it is complete.
    """
    seen = _box(box)
    _run(lambda job: job.embed(source, out, pooling, fit, seen), out, server, api_key, model, concurrency)


def tokens(
    source: Source,
    out: Table,
    server: Server = None,
    api_key: ApiKey = None,
    model: Model = None,
    fit: Fitted = "crop",
    box: Part = "0,0,1,1",
    concurrency: Concurrency = 8,
) -> None:
    """Write the tokens of each picture of a folder into a Parquet file, for reconstruct and for programs.

    Columns: path (within the folder) and tokens, a compact safetensors file each. Pictures that can't be read
    are named on standard error and left out; the exit code is then 1. The file appears when it is complete.
    """
    seen = _box(box)
    _run(lambda job: job.tokens(source, out, fit, seen), out, server, api_key, model, concurrency)


def reconstruct(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder of pictures, one picture, or a file that tokens has written.", exists=True
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the pictures, as PNG.", file_okay=False)],
    edits: Annotated[
        str, typer.Option(help='A list of edits in JSON, such as [{"op":"drop","token":3}].')
    ] = "[]",
    donor: Annotated[
        list[Path] | None,
        typer.Option(help="Picture that edits take tokens from; may be repeated.", exists=True),
    ] = None,
    server: Server = None,
    api_key: ApiKey = None,
    model: Model = None,
    fit: Fitted = "crop",
    box: Part = "0,0,1,1",
    concurrency: Concurrency = 8,
) -> None:
    """Draw each picture of a folder from its tokens, after edits.

    OUT gets the folder's own layout. Pictures that can't be read are named on standard error and left out;
    the exit code is then 1.
    """
    seen = _box(box)
    _run(
        lambda job: job.reconstruct(source, out, edits, donor or [], fit, seen),
        out,
        server,
        api_key,
        model,
        concurrency,
    )


def bulk(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder of pictures, or of Parquet files or WebDataset archives, at any depth, or a pattern "
            "such as 's3://bucket/train-*.tar'.",
        ),
    ],
    destination: Annotated[str, typer.Argument(help="Folder for the tables; of the same job, to go on.")],
    pooling: Vector = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Write tokens and localization, too.")] = False,
    model: Model = None,
    fit: Fitted = "crop",
    box: Part = "0,0,1,1",
    image_column: Annotated[
        str | None,
        typer.Option(
            help="Column of pictures in Parquet files; extension of pictures in archives.",
            show_default="looked for",
        ),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="Column of ids in Parquet files.", show_default="FILE:ROW")
    ] = None,
    shard_bytes: Annotated[
        int, typer.Option(help="Bytes of pictures that are done, or done again, as a whole.", min=1)
    ] = 64 * 2**20,
    workers: Annotated[int, typer.Option(help="Processes with a model each.", min=1)] = 1,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda or tensorrt; a GPU for each worker.", show_default="cpu"),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="A Ray cluster's, such as auto.", show_default="this machine", envvar="RAY_ADDRESS"
        ),
    ] = None,
) -> None:
    """Write vectors, and tokens on demand, of any number of pictures into Parquet files, by Ray Data.

    Source and destination may be wherever fsspec reaches. Killed at any moment, the same command goes on
    and leaves out nothing and has nothing twice. Rows that can't be read stand in errors/ with the reason;
    the exit code is 1 then. It is 2 where something is left to do: the same command tries again.
    """
    try:
        from service.bulk.cluster import ClusterError
        from service.bulk.job import Job
        from service.bulk.record import Options
        from service.runtime.bundle import BundleError
        from service.runtime.providers import DeviceError
        from service.settings import read_settings
        from service.watch.logs import configure_logs
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is missing: pip install 'stellar-service[bulk,cpu]'")

    options = Options(
        pooling=pooling,
        fit=fit,
        box=_box(box),
        tokens=tokens,
        image_column=image_column,
        id_column=id_column,
        shard_bytes=shard_bytes,
    )
    given = {"model": model, "device": device}
    try:
        settings = read_settings(
            **{name: value for name, value in given.items() if value is not None},
            api_keys=None,
            api_keys_file=None,
        )
        configure_logs("warning", "auto")
        job = Job(source, destination, options, settings)
        if job.left_out:
            typer.echo(job.left_out, err=True)
        summary = job.run(workers=workers, address=address)
    except (BundleError, ClusterError, DeviceError, ImportError, OSError, ValueError) as error:
        _fail(error)
    typer.echo(
        f"{summary.rows} written to {escaped(destination)}, {summary.failed} failed; "
        f"{summary.images_per_s:.1f} images/s; {summary.done_before} of {summary.shards} shards were there",
        err=True,
    )
    if summary.left:
        _fail(
            "\n".join(f"shard {number}: {reason}" for number, reason in summary.left.items())
            + f"\n{len(summary.left)} shards are left: try the same command again"
        )
    if summary.any_failed:
        raise typer.Exit(1)


def masks(
    source: Annotated[
        Path,
        typer.Argument(help="File that tokens has written, or folder that bulk --tokens has.", exists=True),
    ],
    out: Annotated[Path, typer.Option(help="COCO file to write, in JSON.", dir_okay=False)],
) -> None:
    """Write the regions of tokens as masks into a COCO file, for programs that show and label pictures.

    Images are the pictures, categories the tokens' numbers, annotations the regions: where a token holds
    more than any other. Masks lie on the upright picture, whatever part of it the model saw. The file
    appears when it is complete.
    """
    try:
        from service.cli.coco import write_masks
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is missing: pip install 'stellar-service[coco]'")
    try:
        pictures = write_masks(source, out)
    except (OSError, ValueError) as error:
        _fail(error)
    typer.echo(f"masks of {pictures} pictures written to {escaped(str(out))}", err=True)


def _run(
    work: Callable[[Job], Awaitable[None]],
    out: Path,
    server: str | None,
    api_key: str | None,
    model: str | None,
    concurrency: int,
) -> None:
    """Do the work; exit with 1 where some pictures failed, with 2 where nothing could be done."""
    import asyncio

    try:
        from service.cli.folder import job
        from service.client import StellarError
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is missing: pip install 'stellar-service[client]'")

    async def run() -> Job:
        async with job(server, api_key=api_key, model=model, concurrency=concurrency) as ready:
            await work(ready)
            return ready

    try:
        job_done = asyncio.run(run())
    except (OSError, StellarError, ValueError) as error:
        _fail(error)
    typer.echo(f"{job_done.done} written to {escaped(str(out))}, {job_done.failed} failed", err=True)
    if job_done.failed:
        raise typer.Exit(1)


def _box(given: str) -> Box:
    """The part that --box names; exits with 2 where it names none."""
    try:
        return parse_box(given)
    except ValueError as error:
        _fail(f"--box: {error}, got {given[:80]!r}")


def _fail(error: Any) -> NoReturn:
    for line in str(error).splitlines():
        typer.echo(f"error: {line}", err=True)
    raise typer.Exit(2) from None

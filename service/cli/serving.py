"""The command line's part that starts processes, and tells what can be set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from service.settings import Settings

RedisUrl = Annotated[
    str | None,
    typer.Option(help="Redis; rediss:// for TLS.", show_default="redis://127.0.0.1:6379/0"),
]


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default="8000")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="Port for gRPC, too; 0 takes a free one.", show_default="none")
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(help="Processes that take requests; 0: as suits the processors.", show_default="1"),
    ] = None,
    models: Annotated[
        Path | None, typer.Option(help="Folder of bundles.", show_default="the bundled stellar-tiny")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model for requests that name none.", show_default="the first")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or tensorrt; cuda:1 for another GPU.", show_default="cpu")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads that run images.", show_default="the processors")
    ] = None,
    max_batch: Annotated[int | None, typer.Option(help="Largest batch on a GPU.", show_default="8")] = None,
    max_queue: Annotated[int | None, typer.Option(help="Items that may wait.", show_default="256")] = None,
    batcher: Annotated[
        str | None, typer.Option(help="local, or redis: workers run the models.", show_default="local")
    ] = None,
    redis_url: RedisUrl = None,
) -> None:
    """Start the service.

    Every setting can also be a variable, such as STELLAR_MAX_QUEUE; a flag wins over its variable.
    The command settings lists them all.
    """
    _run(
        _serve,
        host=host,
        port=port,
        grpc_port=grpc_port,
        processes=processes,
        models_dir=models,
        model=model,
        device=device,
        threads=threads,
        max_batch=max_batch,
        max_queue=max_queue,
        batcher=batcher,
        redis_url=redis_url,
    )


def worker(
    model: Annotated[
        list[str] | None, typer.Option(help="Model to run; may be repeated.", show_default="all")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or tensorrt; cuda:1 for another GPU.", show_default="cpu")
    ] = None,
    models: Annotated[
        Path | None, typer.Option(help="Folder of bundles.", show_default="the bundled stellar-tiny")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads that run images.", show_default="the processors")
    ] = None,
    max_batch: Annotated[int | None, typer.Option(help="Largest batch on a GPU.", show_default="8")] = None,
    redis_url: RedisUrl = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port of its metrics; 0 takes a free one.", show_default="9400")
    ] = None,
) -> None:
    """Run models for services that were started with --batcher redis."""
    from service.fleet.process import run_worker

    _run(
        lambda settings: run_worker(settings, model or []),
        device=device,
        models_dir=models,
        threads=threads,
        max_batch=max_batch,
        redis_url=redis_url,
        metrics_port=metrics_port,
    )


def settings() -> None:
    """List every setting: its variable, its default, its meaning."""
    from service.settings import Settings

    for name, field in Settings.model_fields.items():
        typer.echo(f"STELLAR_{name.upper()}={'' if field.default is None else field.default}")
        typer.echo(f"    {field.description}")


def version() -> None:
    """Print the version."""
    from importlib.metadata import version

    typer.echo(version("stellar-service"))


def _serve(settings: Settings) -> bool:
    from service.processes.shares import process_count

    if process_count(settings) == 1:
        from service.http.server import run_server

        return run_server(settings)
    from service.processes.supervisor import run_processes

    return run_processes(settings)


def _run(start: Callable[[Settings], bool], **given: Any) -> None:
    """Start something with the settings; options that were not given come from variables and defaults."""
    from service.settings import read_settings, unknown_variables
    from service.watch.logs import configure_logs, logger

    try:
        settings = read_settings(**{name: value for name, value in given.items() if value is not None})
        configure_logs(settings.log_level, settings.log_format)
        for variable in unknown_variables():
            logger.warning("unknown_setting", variable=variable)
        if not start(settings):
            raise typer.Exit(1)
    except ValueError as error:
        for line in str(error).splitlines():
            typer.echo(f"error: {line}", err=True)
        raise typer.Exit(2) from None

"""`stellar-service`: start the service."""

from __future__ import annotations

from importlib.metadata import version as package_version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Serve pictures as editable visual tokens."
)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default="8000")
    ] = None,
    models: Annotated[
        Path | None, typer.Option(help="Folder of bundles.", show_default="the bundled stellar-tiny")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model for requests that name none.", show_default="the first")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="cpu, cuda or tensorrt.", show_default="cpu")] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads of an inference.", show_default="the processors")
    ] = None,
    max_batch: Annotated[int | None, typer.Option(help="Largest batch.", show_default="8")] = None,
    max_queue: Annotated[int | None, typer.Option(help="Items that may wait.", show_default="256")] = None,
) -> None:
    """Start the service.

    Every setting can also be a variable, such as STELLAR_MAX_QUEUE; a flag wins over its variable.
    The command settings lists them all.
    """
    from pydantic import ValidationError

    from service.logs import configure_logs
    from service.server import run_server
    from service.settings import Settings, warn_of_unknown_variables

    given = {
        "host": host,
        "port": port,
        "models_dir": models,
        "model": model,
        "provider": provider,
        "threads": threads,
        "max_batch": max_batch,
        "max_queue": max_queue,
    }
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        settings = Settings(**values)
        configure_logs(settings.log_level, settings.log_format)
        warn_of_unknown_variables()
        if not run_server(settings):
            raise typer.Exit(1)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            name = ".".join(map(str, problem["loc"]))
            typer.echo(f"error: {name}: {problem['msg']}, got {problem['input']!r}", err=True)
        raise typer.Exit(2) from None
    except ValueError as error:
        _fail(error)


@app.command()
def settings() -> None:
    """List every setting: its variable, its default, its meaning."""
    from service.settings import Settings

    for name, field in Settings.model_fields.items():
        typer.echo(f"STELLAR_{name.upper()}={'' if field.default is None else field.default}")
        typer.echo(f"    {field.description}")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(package_version("stellar-service"))


def _fail(error: object) -> NoReturn:
    typer.echo(f"error: {error}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    app()

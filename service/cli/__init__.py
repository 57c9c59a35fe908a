"""`stellar-service`: what a person types.

serving.py    serve, worker, settings, version
commands.py   embed, tokens, reconstruct and bulk: what works on many pictures
folder.py     their work on a folder, by a client of a service elsewhere or in this process
"""

import typer

from service.cli import commands, serving

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Serve pictures as editable visual tokens."
)
for command in (commands.embed, commands.tokens, commands.reconstruct, commands.bulk):
    app.command(rich_help_panel="On many pictures")(command)
for start in (serving.serve, serving.worker, serving.settings, serving.version):
    app.command()(start)

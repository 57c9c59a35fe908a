"""`stellar-service`: what a person types.

serving.py    serve, worker, settings, version
commands.py   embed, tokens, reconstruct, bulk and masks: what works on many pictures
folder.py     their work on a folder, by a client of a service elsewhere or in this process
coco.py       the work of masks: regions of tokens in a COCO file
"""

import signal
import sys

if sys.argv[1:2] in (["serve"], ["worker"]):
    # Until they hear it, it must not end them: they have read no models yet, and have nothing to take in.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

# Only now, because it takes a quarter of a second.
import typer

from service.cli import commands, serving

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Serve pictures as editable visual tokens."
)
for command in (commands.embed, commands.tokens, commands.reconstruct, commands.bulk, commands.masks):
    app.command(rich_help_panel="On many pictures")(command)
for start in (serving.serve, serving.worker, serving.settings, serving.version):
    app.command()(start)

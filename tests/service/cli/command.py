"""A command as its users have it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path

FORKED = get_context("forkserver")
FORKED.set_forkserver_preload(["service.cli.coco", "service.cli.folder", "service.cli"])


def stellar(*arguments: object, **environment: str) -> tuple[int, str]:
    """Exit code and standard error of a command, in a process that is forked from one that has imported all.

    Nearly all that a command takes which refuses something is to import what it needs.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, told = Path(folder) / "out", Path(folder) / "told"
        given = [*map(str, arguments)], _environment(environment), str(out), str(told)
        process = FORKED.Process(target=_run, args=given)
        process.start()
        process.join()
        assert process.exitcode is not None
        assert out.read_bytes() == b""
        return process.exitcode, told.read_text()


def started(
    *arguments: object, python: str = "from service.cli import app; app()", **environment: str
) -> tuple[int, str]:
    """The same of a command that imports for itself what it needs."""
    done = subprocess.run(
        [sys.executable, "-c", python, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=_environment(environment),
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def _environment(more: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STELLAR_")}
    return kept | {"NO_COLOR": "1", "COLUMNS": "200"} | more


def _run(arguments: list[str], environment: dict[str, str], out: str, told: str) -> None:
    """The command, in the process that is forked."""
    for number, path in ((1, out), (2, told)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["stellar-service", *arguments]
    from service.cli import app

    app()

"""A command as its users have it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from tests.forked import SERVICE, Forked


def stellar(*arguments: object, **environment: str) -> tuple[int, str]:
    """Exit code and standard error of a command, in a process that is forked from one that has imported all.

    Nearly all that a command takes which refuses something is to import what it needs.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as told:
        command = ("service.cli", *map(str, arguments))
        process = Forked(SERVICE, *command, environment=_environment(environment), stdout=out, stderr=told)
        code = process.wait()
        for file in (out, told):
            file.seek(0)
        assert out.read() == ""
        return code, told.read()


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

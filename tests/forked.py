"""A command in a process that is forked from one that has imported what it needs.

Imports are most of what a start of one of ours takes, and the tests start hundreds. The command itself runs
as `python -m` runs it, from its first line to the interpreter's end.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

MAX_REQUEST_BYTES = 1 << 20
SERVICE = (
    *("service.cli", "service.cli.coco", "service.cli.folder"),
    *("service.http.server", "service.fleet.process"),
)
TRAINING = ("training.launch", "training.run.learnt", "torch._dynamo", "torch.utils.tensorboard")


class Forked:
    """`python -m COMMAND`, and what `subprocess.Popen` has of it; `apart` is a session of its own."""

    def __init__(
        self,
        imported: tuple[str, ...],
        *command: str,
        environment: Mapping[str, str],
        stdout: IO[str] | int = 1,
        stderr: IO[str] | int = 2,
        apart: bool = False,
    ) -> None:
        status, theirs = os.pipe()
        files = [each if isinstance(each, int) else each.fileno() for each in (stdout, stderr)]
        request = json.dumps([command, dict(environment), str(Path.cwd()), apart]).encode()
        socket.send_fds(_stem(imported), [request], [*files, theirs])
        os.close(theirs)
        self._status = os.fdopen(status)
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, or a signal's number below 0; None while the process runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The same at the end; `subprocess.TimeoutExpired` where that takes more seconds than `timeout`."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def _stem(modules: tuple[str, ...]) -> socket.socket:
    """Where to ask for forks of a process that has imported these; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.forked", str(theirs.fileno()), *modules]
        stem = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    atexit.register(_end, ours, stem)
    return ours


def _end(requests: socket.socket, stem: subprocess.Popen[bytes]) -> None:
    requests.close()
    stem.terminate()
    stem.wait()


def _asked(requests: socket.socket) -> Any:
    """What to run, told in each process that is forked; None where nobody asks any more."""
    signal.signal(signal.SIGCHLD, _reap)
    while True:
        request, files, _, _ = socket.recv_fds(requests, MAX_REQUEST_BYTES, 3)
        if not request or os.fork() == 0:
            break
        for file in files:
            os.close(file)
    requests.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if not request:
        return None
    *outputs, status = files
    if pid := os.fork():
        os.write(status, f"{pid}\n".encode())
        os.write(status, f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())
        os._exit(0)
    for number, file in enumerate([os.open(os.devnull, os.O_RDONLY), *outputs]):
        os.dup2(file, number)
        os.close(file)
    os.close(status)
    return json.loads(request)


def _reap(*_: object) -> None:
    """Those that waited for a command; what it took of the processors is then theirs, and of this one."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _main(requests: int, *modules: str) -> None:
    gc.disable()  # all that is imported stays
    for module in modules:
        importlib.import_module(module)
    gc.freeze()  # what is shared stays so
    gc.enable()
    if (asked := _asked(socket.socket(fileno=requests))) is None:
        return
    (module, *arguments), environment, folder, apart = asked
    if apart:
        os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # it may be another there
    sys.modules.pop(module, None)  # what it does first, it does with its own arguments
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(int(sys.argv[1]), *sys.argv[2:])

"""What the supervisor starts: an API process or the engine, with its settings in variables."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from pathlib import Path

from service.host.member import Member
from service.settings import read_settings
from service.watch.logs import configure_logs


def main() -> int:
    """The exit code: 0 at the end, 1 where it could not start, 2 for settings that make no sense."""
    parser = argparse.ArgumentParser(prog="python -m service.processes", description=__doc__)
    parser.add_argument("name", help="engine, or what an API process is called in logs")
    parser.add_argument("--channel", type=int, required=True, help="to the supervisor")
    parser.add_argument("--listening", type=int, help="where the engine listens, as a file")
    parser.add_argument("--engine", type=Path, help="where the engine listens, as a path")
    given = parser.parse_args()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor hears it
    settings = read_settings()
    configure_logs(settings.log_level, settings.log_format, given.name)
    member = Member(socket.socket(fileno=given.channel), given.engine)
    if given.listening is not None:
        from service.processes.engine import run_engine

        run_engine(settings, member, socket.socket(fileno=given.listening))
        return 0
    from service.http.server import run_server

    return 0 if run_server(settings, member) else 1


if __name__ == "__main__":
    sys.exit(main())

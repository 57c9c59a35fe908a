"""What the bounds on connections cost: our connection beside uvicorn's own two, which have none or few.

Closed loops on kept connections; rounds are interleaved, figures are the server's processor time, medians
over rounds: `python -m tests.benchmarks.connections`.
"""

from __future__ import annotations

import http.client
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.cli import app
from service.http import server as http_server
from tests.service.photos import photo
from tests.service.server import SERVE, Server

ROUNDS = 5
CLIENTS = 8
UVICORNS = ("httptools", "h11")


def _load(server: Server, count: int, send: Callable[[http.client.HTTPConnection], None]) -> float:
    """Milliseconds of a processor for each of so many requests."""

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        for _ in range(count // CLIENTS):
            send(connection)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    before = server.worked_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 1000 * (server.worked_s - before) / (count // CLIENTS * CLIENTS)


def main() -> None:
    picture = photo("astronaut")
    large = {"content-type": "image/jpeg"}
    loads = {
        "GET /healthz/live": (2000, lambda connection: connection.request("GET", "/healthz/live")),
        "POST /embed": (160, lambda connection: connection.request("POST", "/embed", picture, large)),
    }
    table = Table("processor ms a request", "ours", *(f"uvicorn, {name}" for name in UVICORNS))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        commands = {"ours": SERVE} | {name: ("-m", "tests.benchmarks.connections", name) for name in UVICORNS}
        servers = {
            name: stack.enter_context(Server(Path(folder) / f"{name}.log", {}, command=command))
            for name, command in commands.items()
        }
        for server in servers.values():
            server.wait_until(lambda server=server: server.answers("/healthz/ready", 200))  # type: ignore[misc]
        for what, (count, send) in loads.items():
            found: dict[str, list[float]] = {name: [] for name in servers}
            for turn in range(ROUNDS + 1):
                for name, server in servers.items():
                    took_ms = _load(server, count, send)
                    if turn:  # the first one warms up
                        found[name].append(took_ms)
            ratios = [statistics.median(each) for each in found.values()]
            table.add_row(what, *(f"{ms:.3f} ({ms / ratios[0]:.2f} ×)" for ms in ratios))
    Console().print(table)


def serve(connection: str) -> None:
    """The service as it is, but for its connections."""
    kind = {"httptools": HttpToolsProtocol, "h11": H11Protocol}[connection]
    http_server.Connection = lambda door, **given: kind(**given)  # type: ignore[assignment,attr-defined]
    app(["serve", *sys.argv[2:]])


if __name__ == "__main__":
    serve(sys.argv[1]) if len(sys.argv) > 1 else typer.run(main)

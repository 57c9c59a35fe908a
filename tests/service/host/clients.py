"""Several processes of one service, told apart: a client for each, their ids, their ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.service.server import Server

APIS = ("api-0", "api-1")
Clients = dict[str, httpx.Client]
"""One for each API process: the one that accepts a connection has it until it is closed."""


@contextmanager
def clients_of(server: Server) -> Iterator[Clients]:
    """A client for each process; which one has taken a connection tells the line that it logs."""
    found: Clients = {}
    tried: list[httpx.Client] = []
    try:
        while set(found) != set(APIS):
            tried.append(httpx.Client(base_url=server.url, timeout=60))
            found[process_of(server, tried[-1])] = tried[-1]
        server.wait_until(lambda: all(map(is_ready, found.values())))
        yield found
    finally:
        for client in tried:
            client.close()


def is_ready(client: httpx.Client) -> bool:
    return client.get("/healthz/ready").status_code == 200


def process_of(server: Server, client: httpx.Client) -> str:
    """The process that answers a client, once it has logged so."""
    request_id = client.get("/models").headers["x-request-id"]

    def names() -> list[str]:
        return [line["process"] for line in server.logged("request") if line["request_id"] == request_id]

    server.wait_until(lambda: names() != [])
    return names()[0]


def embed(client: httpx.Client, *images: bytes) -> httpx.Response:
    return client.post("/embed", files=[("image", image) for image in images])


def pid_of(server: Server, name: str) -> int:
    """The process that has this name now."""
    return int([line["pid"] for line in server.logged("process_started") if line["started"] == name][-1])


def kill(server: Server, name: str) -> None:
    server.expect("process_died")
    os.kill(pid_of(server, name), signal.SIGKILL)


def left(server: Server) -> list[int]:
    """Processes of a server that still run."""
    return [line["pid"] for line in server.logged("process_started") if is_running(line["pid"])]


def is_running(pid: int) -> bool:
    """Whether there is more of a process than an end that nobody has asked about."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False

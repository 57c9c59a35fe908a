"""Bytes on a connection, as no decent client sends them."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress

from tests.service.process import Process
from tests.service.server import Server

TIMEOUT_S = 60


def connect(server: Server, sent: bytes = b"", *, receive_buffer: int | None = None) -> socket.socket:
    """A connection on which this was sent."""
    connection = socket.socket()
    connection.settimeout(TIMEOUT_S)
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(sent)
    return connection


def read(connection: socket.socket) -> bytes:
    """What comes until the other side ends it; it is closed then."""
    answer = b""
    with connection, suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def exchange(server: Server, request: bytes) -> bytes:
    """The answer to bytes; what the server does not want to have is left away."""
    connection = connect(server)
    with suppress(ConnectionError):
        connection.sendall(request)
    return read(connection)


def told(answer: bytes) -> tuple[int, str]:
    """Status and code of an answer that is a problem document."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["code"]


def post(path: str, length: int, *headers: str) -> bytes:
    """The head of a request with a picture."""
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: image/png", f"content-length: {length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode()


def open_files(process: Process) -> int:
    """Descriptors that a process has."""
    return len(os.listdir(f"/proc/{process.process.pid}/fd"))  # noqa: PTH208

"""The port that processes of a host share: each listens for itself, and the kernel spreads connections."""

from __future__ import annotations

import socket

BACKLOG = 2048


def reserve(host: str, port: int) -> list[socket.socket]:
    """Take a port at all addresses of a host for `listen_on`, in this process and in those that it starts.

    0 takes a free one. Raises `OSError` where somebody else has it.
    """
    taken: list[socket.socket] = []
    for family, address in _addresses(host, port):
        if taken:
            port = taken[0].getsockname()[1]
        # Sockets that share do not tell that others of the same user have the port; one that doesn't, does.
        with socket.create_server((address, port), family=family) as alone:
            port = alone.getsockname()[1]
        one = socket.socket(family)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address, port))
        # Else the one above may listen beside it, for another service, until a process of this one listens.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        taken.append(one)
    return taken


def listen_on(host: str, port: int) -> list[socket.socket]:
    """Sockets of this process at all addresses of a host."""
    return [
        socket.create_server((address, port), family=family, backlog=BACKLOG, reuse_port=True)
        for family, address in _addresses(host, port)
    ]


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((each[0], str(each[4][0])) for each in found))

#!/bin/sh
# uvloop 0.23.0: a server of create_unix_server that nobody keeps a reference to stops listening at the next garbage collection,
# without a word: connections are refused. One of create_server (TCP) listens on, and under asyncio's own loop both do, because
# the loop itself holds what accepts. Code that starts a server and forgets the result works with one and not with the other.
#
# Seen: asyncio: unix b'hello' again b'hello', tcp b'hello' again b'hello'
#       uvloop:  unix b'hello' again ConnectionRefusedError, tcp b'hello' again b'hello'
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0
"$folder/venv/bin/python" - "$folder/socket" <<'PYTHON'
import asyncio
import gc
import sys
from pathlib import Path

import uvloop


class Greeter(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"hello")
        transport.close()


async def ask(kind, address):
    connect = asyncio.open_unix_connection if kind == "unix" else asyncio.open_connection
    try:
        reader, writer = await connect(*address)
    except ConnectionError as error:
        return type(error).__name__
    heard = await reader.read()
    writer.close()
    return heard


async def start(kind):
    """Start a server, and keep nothing of it but its address."""
    loop = asyncio.get_running_loop()
    if kind == "unix":
        Path(sys.argv[1]).unlink(missing_ok=True)
        await loop.create_unix_server(Greeter, sys.argv[1])
        return (sys.argv[1],)
    server = await loop.create_server(Greeter, "127.0.0.1", 0)
    return server.sockets[0].getsockname()


async def listens(kind):
    address = await start(kind)
    before = await ask(kind, address)
    gc.collect()
    await asyncio.sleep(0.1)
    return before, await ask(kind, address)


seen = {}
for name, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
    for kind in ("unix", "tcp"):
        seen[name, kind] = run(listens(kind))
        print(f"{name}: {kind} {seen[name, kind][0]} again {seen[name, kind][1]}")
heard = (b"hello", b"hello")
refused = (b"hello", "ConnectionRefusedError")
assert seen == {
    ("asyncio", "unix"): heard,
    ("asyncio", "tcp"): heard,
    ("uvloop", "unix"): refused,
    ("uvloop", "tcp"): heard,
}, "it is otherwise now"
PYTHON
echo "seen: uvloop 0.23.0 forgets Unix servers that nobody keeps"

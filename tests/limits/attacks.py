"""What a client can send to take more than its share, each within all limits that look at one number alone.

Nothing here is more than our own guards should see: sizes are those of ordinary large requests.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from tests.limits.calls import calls
from tests.limits.pictures import LARGE, SIDE, plain
from tests.limits.victim import ATTACKER, Victim
from tests.service.tokens.files import chunk, segment

JSON = "application/json"
INFER = "/v2/models/stellar-tiny.embed/infer"
MB = 10**6
CLIENTS = 8
IDLE_S = 3.0
SILENT = 1_100
STALLED = 50
CODE = re.compile(r'"code": ?"(\w+)"')
WAIT_S = 40.0
"""How long a connection is left alone at most: longer than any of the service's own times."""

Answers = Counter[str]
"""How often what was answered: a status and a code, or how a connection ended."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Something to send."""

    name: str
    run: Callable[[Victim], Answers]
    in_flight_bytes: int = 0
    """What of it the service has to hold at the same time, as sent."""


def attacks(size: float) -> list[Attack]:
    """All of them, with bodies and counts times `size`: 1 for what the goals speak of."""
    idle = Attack(name="nothing, for comparison", run=_nothing)
    web = [*_pictures(size), *_files(size), *_documents(size), *_forms(size), *_connections(size)]
    by_grpc = [Attack(name=name, run=run, in_flight_bytes=held) for name, (run, held) in calls(size).items()]
    return [idle, *web, *by_grpc]


def _nothing(victim: Victim) -> Answers:
    time.sleep(IDLE_S)
    return Answers()


def _pictures(size: float) -> list[Attack]:
    """One of each kind from each client, then many of all kinds."""
    side, times = round(SIDE * size**0.5), max(CLIENTS, round(200 * size))
    made = {kind: make(side) for kind, make in LARGE.items()}
    found = [
        _sent(
            f"{CLIENTS} pictures of {side}²: {kind}", "/embed", [data], "image/png", CLIENTS, clients=CLIENTS
        )
        for kind, data in made.items()
    ]
    name = f"{times} pictures of {side}² of all kinds"
    return [*found, _sent(name, "/embed", list(made.values()), "image/png", times, clients=CLIENTS)]


def _files(size: float) -> list[Attack]:
    """Files with many parts before their pixels."""
    count = round(100_000 * size)
    png, picture = plain("PNG", 64), plain("JPEG", 64)
    kinds = {
        f"JPEG of {count} segments": picture[:2] + segment(0xE5, b"") * count + picture[2:],
        f"PNG of {count} chunks": png[:33] + chunk(b"teSt", b"") * count + png[33:],
        f"PNG of {count} empty IDATs": png[:33] + chunk(b"IDAT", b"") * count + png[33:],
    }
    return [_sent(name, "/embed", [data], "image/png") for name, data in kinds.items()]


def _documents(size: float) -> list[Attack]:
    """JSON of many small things."""
    count = round(2 * MB * size)

    def many(element: str, bytes_: int = count) -> str:
        return "[" + ",".join([element] * (bytes_ // (len(element) + 1))) + "]"

    image = base64.b64encode(plain("PNG", 64)).decode()
    embed, reconstruct = "/embed", "/reconstruct"
    tokens = {"semantics": "NUMBERS", "localization": "NUMBERS"}
    edit = '{"image":"%s","edits":[%s]}'
    tensor = '{"inputs":[{"name":"image","datatype":"%s","shape":[1],"data":%s}]}'
    documents = {
        "/v2: inputs that are empty objects": (INFER, f'{{"inputs":{many("{}")}}}'),
        "/v2: a shape of many numbers": (
            INFER,
            f'{{"inputs":[{{"name":"image","datatype":"BYTES","shape":{many("1")},"data":[""]}}]}}',
        ),
        "/v2: many outputs": (INFER, f'{{"inputs":[],"outputs":{many(json.dumps({"name": "x"}))}}}'),
        "/v2: data of many strings": (INFER, tensor % ("BYTES", many('""'))),
        "/v2: data of lists": (INFER, tensor % ("BYTES", many("[]"))),
        "/v2: many numbers": (
            "/v2/models/stellar-tiny.encoder/infer",
            tensor % ("UINT8", many("0.12345678", 20 * count)),
        ),
        "/v1: input of many strings": ("/v1/embeddings", f'{{"input":{many(json.dumps(""))}}}'),
        "/v1: many messages": (
            "/v1/embeddings",
            f'{{"messages":{many(json.dumps({"role": "user", "content": ""}))}}}',
        ),
        "image: a list of lists": (embed, f'{{"image":{many("[]")}}}'),
        "image: many empty strings": (embed, f'{{"image":{many(json.dumps(""))}}}'),
        "image: a long text that is no base64": (embed, '{"image":"%s"}' % ("é" * (10 * count))),
        "image: long base64": (embed, '{"image":"%s"}' % ("AAAA" * (7 * count))),
        "image: long base64 of lines": (embed, '{"image":"%s"}' % ("_-AA\\n" * (5 * count))),
        "an unknown option, long": (embed, f'{{"image":"{image}","fit":"{"x" * (10 * count)}"}}'),
        "edits: many of no kind": (reconstruct, edit % (image, many("{}")[1:-1])),
        "edits: paint with many cells": (
            reconstruct,
            edit % (image, f'{{"op":"paint","token":0,"cells":{many("[0,0]")}}}'),
        ),
        "edits: keep of many tokens": (
            reconstruct,
            edit % (image, f'{{"op":"keep","tokens":{many("0")}}}'),
        ),
        "tokens: one long string and many empty ones": (
            reconstruct,
            json.dumps({"tokens": tokens}).replace(
                '"NUMBERS"', f'["{"x" * 1000}",{many(json.dumps(""))[1:]}'
            ),
        ),
        "tokens: many numbers": (
            reconstruct,
            json.dumps({"tokens": tokens}).replace('"NUMBERS"', many("0.12345678", 10 * count)),
        ),
        "deep nesting": (embed, '{"image":' + "[" * count),
    }
    found = [_sent(name, path, [text.encode()], JSON) for name, (path, text) in documents.items()]
    bomb = documents["/v2: inputs that are empty objects"]
    packed = gzip.compress(bomb[1].encode(), 9)
    found.append(
        _sent(
            "the same in gzip, 8 at once",
            INFER,
            [packed],
            JSON,
            8,
            clients=8,
            encoding="gzip",
            unpacked=8 * count,
        )
    )
    return found


def _forms(size: float) -> list[Attack]:
    count = round(2 * MB * size)
    kind = "multipart/form-data; boundary=x"

    def part(head: str, body: bytes) -> bytes:
        return b"--x\r\n" + head.encode() + b"\r\n\r\n" + body + b"\r\n"

    named = 'Content-Disposition: form-data; name="{}"'
    forms = {
        f"form: a field of {5 * count / MB:.1f} MB": part(named.format("edits"), b"[" * (5 * count)),
        "form: a field in another charset": part(
            named.format("fit") + "\r\nContent-Type: text/plain; charset=undefined", b"a-" * (count // 20)
        ),
        f"form: a part's head of {5 * count / MB:.1f} MB": part(
            named.format("image") + "\r\nX: " + "y" * (5 * count), b""
        ),
        "form: a part of many header lines": part(named.format("image") + "\r\nX: y" * (count // 4), b""),
        "form: half boundaries": part(
            named.format("image") + "\r\nContent-Type: image/png", b"\r\n--" * count
        ),
        "form: carriage returns": part(
            named.format("image") + "\r\nContent-Type: image/png", b"\r" * (5 * count)
        ),
        "form: many parts": part(named.format("fit"), b"") * (count // 50),
    }
    return [_sent(name, "/embed", [body + b"--x--\r\n"], kind) for name, body in forms.items()]


def _connections(size: float) -> list[Attack]:
    silent, stalled = round(SILENT * size), max(4, round(STALLED * size))
    body = round(60 * MB * size)

    def head_of(count: int) -> Callable[[Victim], Answers]:
        def run(victim: Victim) -> Answers:
            with _connected(victim) as connection:
                lines = (b"X-Filler: " + b"y" * 8_000 + b"\r\n") * 10
                try:
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
                    for _ in range(count // len(lines)):
                        connection.sendall(lines)
                except OSError:
                    return Answers({_first_line(connection) or "closed": 1})
                return Answers({_first_line(connection) or "no answer": 1})

        return run

    def address_of(length: int) -> Callable[[Victim], Answers]:
        def run(victim: Victim) -> Answers:
            with _connected(victim) as connection:
                with suppress(OSError):
                    connection.sendall(b"GET /" + b"y" * length + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                return Answers({_first_line(connection) or "closed": 1})

        return run

    def silence(victim: Victim) -> Answers:
        connections = [_connected(victim) for _ in range(silent)]
        answers = Answers({"open": 0})
        with httpx.Client(base_url=victim.server.url, timeout=10) as client:
            answers[f"/healthz/ready {client.get('/healthz/ready').status_code}"] += 1
        for connection in connections:
            connection.close()
        return +answers

    def stall(victim: Victim) -> Answers:
        """Bodies that stop before their end."""
        connections = [_connected(victim) for _ in range(stalled)]
        head = (
            f"POST /embed HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ATTACKER}\r\n"
            f"Content-Type: image/png\r\nContent-Length: {body + 1}\r\n\r\n"
        ).encode()
        answers = Answers()

        def one(connection: socket.socket) -> None:
            try:
                connection.sendall(head)
                for _ in range(body // MB):
                    connection.sendall(bytes(MB))
            except OSError:
                pass
            answers[_first_line(connection) or "closed"] += 1
            connection.close()

        threads = [threading.Thread(target=one, args=(connection,)) for connection in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    return [
        Attack(name=f"a head of {100 * size:.0f} MB", run=head_of(round(100 * MB * size))),
        Attack(
            name=f"an address of {20 + 100 * size:.0f} kB", run=address_of(round(100_000 * size) + 20_000)
        ),
        Attack(name=f"{silent} silent connections", run=silence),
        Attack(name=f"{stalled} uploads that stall at {body // MB} MB", run=stall, in_flight_bytes=body),
    ]


def _sent(
    name: str,
    path: str,
    bodies: Sequence[bytes],
    content_type: str,
    times: int = 1,
    *,
    clients: int = 1,
    encoding: str | None = None,
    unpacked: int | None = None,
) -> Attack:
    """A request, sent `times` times by clients at once; it has `unpacked` bytes once it is unpacked."""
    headers = {"content-type": content_type} | ({"content-encoding": encoding} if encoding else {})

    def run(victim: Victim) -> Answers:
        answers = Answers()
        left = iter(range(times))
        lock = threading.Lock()

        def work() -> None:
            with victim.client(ATTACKER) as client:
                while True:
                    with lock:
                        number = next(left, None)
                    if number is None:
                        return
                    answer = _answer(client, path, bodies[number % len(bodies)], headers)
                    with lock:
                        answers[answer] += 1

        threads = [threading.Thread(target=work) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    return Attack(name=name, run=run, in_flight_bytes=clients * (unpacked or max(map(len, bodies))))


def _answer(client: httpx.Client, path: str, body: bytes, headers: dict[str, str]) -> str:
    try:
        answer = client.post(path, content=body, headers=headers)
    except httpx.HTTPError as error:
        return type(error).__name__
    found = CODE.search(answer.text[:4096])
    return f"{answer.status_code} {found.group(1) if found else ''}".strip()


def _connected(victim: Victim) -> socket.socket:
    url = urlsplit(victim.server.url)
    return socket.create_connection((url.hostname, url.port), timeout=WAIT_S)


def _first_line(connection: socket.socket) -> str:
    """What a connection is answered: the status of it; nothing where it is closed without."""
    try:
        return connection.recv(4096).split(b"\r\n")[0].decode("latin-1").removeprefix("HTTP/1.1 ")
    except OSError as error:
        return type(error).__name__

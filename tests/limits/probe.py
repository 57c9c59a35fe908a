"""Asks `/healthz/live` again and again until its input ends; then tells how often, and the longest answer.

A process of its own: what the attackers do does not hold it up.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.client import HTTPConnection

EVERY_S = 0.005


def probe(host: str, port: int) -> None:
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    connection = HTTPConnection(host, port, timeout=120)
    count, longest_s = 0, 0.0
    while not (over.is_set() and count):
        started = time.monotonic()
        connection.request("GET", "/healthz/live")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        longest_s = max(longest_s, time.monotonic() - started)
        count += 1
        if count == 1:
            print("begun", flush=True)
        time.sleep(EVERY_S)
    print(json.dumps([count, longest_s]), flush=True)


if __name__ == "__main__":
    probe(sys.argv[1], int(sys.argv[2]))

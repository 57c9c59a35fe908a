"""Asks `/healthz/live` again and again until its input ends; then tells how often, the longest answer, and
the longest without what the server's main thread and this process waited for a processor meanwhile.

A process of its own: what the attackers do does not hold it up. They, and whatever else runs on the machine,
take processors from the server, too, which is nothing that its event loop does.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

EVERY_S = 0.005


def probe(host: str, port: int, process: int) -> None:
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    connection = HTTPConnection(host, port, timeout=120)
    count, longest_s, longest_stop_s = 0, 0.0, 0.0
    while not (over.is_set() and count):
        waited_s = waited_for_processors(process)
        started = time.monotonic()
        connection.request("GET", "/healthz/live")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        took_s = time.monotonic() - started
        stop_s = took_s - (waited_for_processors(process) - waited_s)
        longest_s, longest_stop_s = max(longest_s, took_s), max(longest_stop_s, stop_s)
        count += 1
        if count == 1:
            print("begun", flush=True)
        time.sleep(EVERY_S)
    print(json.dumps([count, longest_s, longest_stop_s]), flush=True)


def waited_for_processors(process: int) -> float:
    """Seconds that the main threads of a process and of this one were ready and had no processor."""
    waited_ns = (int(Path(f"/proc/{name}/schedstat").read_text().split()[1]) for name in (process, "self"))
    return sum(waited_ns) / 1e9


if __name__ == "__main__":
    probe(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

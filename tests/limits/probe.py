"""Asks `/healthz/live` again and again from one byte of its input to the next; then tells how often, the
longest answer, and the longest without what the server's main thread and this process waited for a processor
meanwhile.

A process of its own: what the attackers do does not hold it up. They, and whatever else runs on the machine,
take processors from the server, too, which is nothing that its event loop does.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

EVERY_S = 0.005


def probe(host: str, port: int, process: int) -> None:
    """Do so until the input ends."""
    while os.read(0, 1):
        connection = HTTPConnection(host, port, timeout=120)
        count, longest_s, longest_stop_s, over = 0, 0.0, 0.0, False
        while not over:
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
            over = select.select([0], [], [], EVERY_S)[0] != []
        os.read(0, 1)
        connection.close()
        print(json.dumps([count, longest_s, longest_stop_s]), flush=True)


def waited_for_processors(process: int) -> float:
    """Seconds that the main threads of a process and of this one were ready and had no processor."""
    waited_ns = (int(Path(f"/proc/{name}/schedstat").read_text().split()[1]) for name in (process, "self"))
    return sum(waited_ns) / 1e9


if __name__ == "__main__":
    probe(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

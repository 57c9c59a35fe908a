"""`stellar-service` on a host whose clock jumps by so many seconds, to and fro: `… skewed SECONDS worker`.

It is wrong from the start, and right and wrong again from one SIGUSR1 to the next.
"""

from __future__ import annotations

import signal
import sys
import time

if __name__ == "__main__":
    seconds = float(sys.argv.pop(1))
    true_time = time.time
    wrong = True

    def jump(*_: object) -> None:
        global wrong
        wrong = not wrong

    signal.signal(signal.SIGUSR1, jump)
    time.time = lambda: true_time() + wrong * seconds
    from service.cli import app

    app()
